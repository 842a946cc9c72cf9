"""What the activities of our workflows are really called with: each call of every recorded history, replayed against this source."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from temporalio.worker import (
    Interceptor,
    Replayer,
    StartActivityInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle

from activities.runtime.plugin import platform_plugin
from workers import record, registry
from workflows import options

Call = StartActivityInput | StartLocalActivityInput

HALF_A_MINUTE = timedelta(seconds=30)
NEVER_GIVEN_UP = ("load_instance", "freeze_machine_spec", "project_instance")
"""One short transaction of an owner: its row must follow, however long the database is away."""


class Listening(Interceptor):
    """Notes the calls of activities on their way out of a workflow."""

    def __init__(self) -> None:
        self.calls: dict[str, list[Call]] = defaultdict(list)

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        calls = self.calls

        class Outbound(WorkflowOutboundInterceptor):
            def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
                calls[input.activity].append(input)
                return super().start_activity(input)

            def start_local_activity(self, input: StartLocalActivityInput) -> ActivityHandle[Any]:
                calls[input.activity].append(input)
                return super().start_local_activity(input)

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))

        return Inbound


@pytest.fixture(scope="module")
async def calls() -> Mapping[str, Sequence[Call]]:
    """By the name of the activity."""
    listening = Listening()
    replayer = Replayer(workflows=list(registry.WORKFLOWS), plugins=[platform_plugin(None)], interceptors=[listening])
    for _, history in record.histories():
        await replayer.replay_workflow(history)
    return listening.calls


def test_every_activity_is_called_in_some_history(calls: Mapping[str, Sequence[Call]]) -> None:
    assert calls.keys() == registry.CALLERS.keys()


@pytest.mark.parametrize("activity", registry.CALLERS)
def test_an_attempt_is_bounded_and_attempts_are_not(calls: Mapping[str, Sequence[Call]], activity: str) -> None:
    for call in calls[activity]:
        assert call.start_to_close_timeout is not None
        assert call.start_to_close_timeout > timedelta(0)
        assert call.retry_policy is not None
        assert call.retry_policy.maximum_attempts == 0
        assert call.retry_policy.maximum_interval is not None
        assert call.retry_policy.maximum_interval <= HALF_A_MINUTE
        assert not call.retry_policy.non_retryable_error_types  # decided where the error is raised


@pytest.mark.parametrize("activity", registry.CALLERS)
def test_only_the_transactions_of_an_owner_have_no_end(calls: Mapping[str, Sequence[Call]], activity: str) -> None:
    for call in calls[activity]:
        if isinstance(call, StartActivityInput):
            assert call.schedule_to_close_timeout is not None
        elif call.schedule_to_close_timeout is None:
            assert activity in NEVER_GIVEN_UP


@pytest.mark.parametrize("activity", registry.CALLERS)
def test_what_may_take_over_half_a_minute_heartbeats(calls: Mapping[str, Sequence[Call]], activity: str) -> None:
    for call in calls[activity]:
        assert call.start_to_close_timeout is not None
        if call.start_to_close_timeout > HALF_A_MINUTE:
            assert isinstance(call, StartActivityInput), "a local activity has no heartbeats"
            assert call.heartbeat_timeout is not None
            assert timedelta(seconds=5) <= call.heartbeat_timeout <= timedelta(seconds=15)


@pytest.mark.parametrize("activity", NEVER_GIVEN_UP)
def test_local_retries_wait_inside_the_workflow_task(calls: Mapping[str, Sequence[Call]], activity: str) -> None:
    for call in calls[activity]:
        assert isinstance(call, StartLocalActivityInput)
        if call.schedule_to_close_timeout is None:
            assert call.local_retry_threshold is not None
            assert call.retry_policy is not None
            assert call.retry_policy.maximum_interval is not None
            assert call.local_retry_threshold > call.retry_policy.maximum_interval


@pytest.mark.parametrize("build", [options.provider_create, options.await_machine])
@pytest.mark.parametrize("remaining_s", [-5.0, 0.0, 3.0])
def test_a_deadline_in_the_past_still_allows_one_look(build: Any, remaining_s: float) -> None:
    assert build(remaining_s)["schedule_to_close_timeout"] == timedelta(seconds=10)


def test_a_deadline_is_what_is_left_of_it(calls: Mapping[str, Sequence[Call]]) -> None:
    assert options.provider_create(90)["schedule_to_close_timeout"] == timedelta(seconds=90)
    ends = {call.schedule_to_close_timeout for call in calls["create_machine"]}
    assert len(ends) > 1, "each create ends with what was left of its own start-up time"
