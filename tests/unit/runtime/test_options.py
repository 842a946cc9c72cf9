"""Rules that every option set keeps, whichever is added next."""

from datetime import timedelta
from typing import Any

import pytest

from workflows import options

SETS = {name: value for name, value in vars(options).items() if name.isupper() and isinstance(value, dict)}
NEVER_GIVEN_UP = {"PROVIDER_DELETE", "AWAIT_GONE", "RECORD"}


@pytest.mark.parametrize("name", SETS)
def test_an_attempt_is_bounded_and_attempts_are_not(name: str) -> None:
    chosen: dict[str, Any] = SETS[name]
    assert chosen["start_to_close_timeout"] > timedelta(0)
    assert chosen["retry_policy"].maximum_attempts == 0
    assert chosen["retry_policy"].maximum_interval <= timedelta(seconds=30)
    assert not chosen["retry_policy"].non_retryable_error_types  # decided where the error is raised


@pytest.mark.parametrize("name", SETS)
def test_only_what_creates_nothing_and_leaves_nothing_has_an_end(name: str) -> None:
    assert ("schedule_to_close_timeout" not in SETS[name]) == (name in NEVER_GIVEN_UP)


@pytest.mark.parametrize("name", [name for name in SETS if name != "RECORD"])
def test_what_may_take_over_half_a_minute_heartbeats(name: str) -> None:
    chosen = SETS[name]
    if chosen["start_to_close_timeout"] > timedelta(seconds=30):
        assert timedelta(seconds=5) <= chosen["heartbeat_timeout"] <= timedelta(seconds=15)


@pytest.mark.parametrize("build", [options.provider_create, options.await_machine])
@pytest.mark.parametrize("remaining_s", [-5.0, 0.0, 3.0])
def test_a_deadline_in_the_past_still_allows_one_look(build: Any, remaining_s: float) -> None:
    assert build(remaining_s)["schedule_to_close_timeout"] == timedelta(seconds=10)


def test_a_deadline_is_what_is_left_of_it() -> None:
    assert options.provider_create(90)["schedule_to_close_timeout"] == timedelta(seconds=90)


def test_local_retries_wait_inside_the_workflow_task() -> None:
    assert options.RECORD["local_retry_threshold"] > options.RECORD["retry_policy"].maximum_interval
