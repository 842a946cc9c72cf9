"""AppError to ApplicationError and back, over the whole tree and over everything that is not ours."""

import json
import math
from collections.abc import Iterator
from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio import exceptions
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import ActivityFailureInfo, ApplicationFailureInfo, Failure, TimeoutFailureInfo
from temporalio.client import WorkflowFailureError
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.exceptions import ActivityError

from activities.runtime.converter import PlatformPayloadConverter
from activities.runtime.failures import (
    DETAILS_LIMIT_BYTES,
    RETRY_AFTER_LIMIT_S,
    PlatformFailureConverter,
    bounded,
    to_application_error,
    unwrap,
)
from activities.runtime.refusal import refused
from models.base import errors
from models.base.errors import AppError, DeadlineExceeded, NoCapacity, PartialCreate


def every_error() -> Iterator[AppError]:
    for cls in vars(errors).values():
        if isinstance(cls, type) and issubclass(cls, AppError):
            yield PartialCreate("m", resource_id="r-1") if cls is PartialCreate else cls("m", details={"a": 1})


def through_the_wire(error: BaseException) -> BaseException:
    converter, failure = PlatformFailureConverter(), Failure()
    converter.to_failure(error, PydanticPayloadConverter(), failure)
    return converter.from_failure(failure, PydanticPayloadConverter())


@pytest.mark.parametrize("error", list(every_error()), ids=lambda error: type(error).__name__)
def test_every_error_survives_the_wire(error: AppError) -> None:
    for carried in (through_the_wire(error), through_the_wire(to_application_error(error))):
        assert isinstance(carried, exceptions.ApplicationError)
        assert (carried.type, carried.non_retryable) == (error.code, not error.retryable)
        found = unwrap(WorkflowFailureError(cause=carried))
        assert type(found) is type(error)
        assert (found.code, found.message, found.details) == (error.code, error.message, error.details)
        assert getattr(found, "resource_id", None) == getattr(error, "resource_id", None)


@pytest.mark.parametrize("name", ["NoCapacity", "NO_CAPACITY"])
def test_a_failure_without_our_details_is_known_by_code_or_class_name(name: str) -> None:
    found = unwrap(exceptions.ApplicationError("none free", type=name))
    assert (type(found), found.code, found.message) == (NoCapacity, "NO_CAPACITY", "none free")


def test_a_class_that_only_a_newer_worker_knows_keeps_code_and_details() -> None:
    wire = {"class": "NotYetInvented", "details": {"a": 1}, "retry_after_s": 3}
    found = unwrap(exceptions.ApplicationError("new", wire, type="NEW_CODE"))
    assert (type(found), found.code, found.details, found.retry_after_s) == (AppError, "NEW_CODE", {"a": 1}, 3)


def test_a_code_that_a_subclass_inherits_means_the_parent() -> None:
    class Narrower(NoCapacity):
        pass

    assert type(unwrap(exceptions.ApplicationError("x", type="NO_CAPACITY"))) is NoCapacity
    assert type(unwrap(through_the_wire(Narrower("x")))) is Narrower


@pytest.mark.parametrize(
    "foreign", [RuntimeError("secret"), exceptions.ApplicationError("secret", type="NotFoundError")]
)
def test_what_is_not_ours_is_internal_and_repeats_nothing(foreign: Exception) -> None:
    found = unwrap(foreign)
    assert (type(found), found.code) == (AppError, "INTERNAL")
    assert "secret" not in found.message + str(found.details)


def test_an_error_of_ours_below_a_foreign_one_is_found() -> None:
    outer = exceptions.ApplicationError("Failed decoding arguments")
    outer.__cause__ = NoCapacity("inner")
    assert unwrap(outer).message == "inner"


def test_a_time_out_is_a_deadline_and_a_cancellation_is_said() -> None:
    activity = exceptions.ActivityError(
        "Activity task timed out",
        scheduled_event_id=1,
        started_event_id=2,
        identity="",
        activity_type="a",
        activity_id="1",
        retry_state=None,
    )
    activity.__cause__ = exceptions.TimeoutError("x", type=None, last_heartbeat_details=[])
    assert isinstance(unwrap(activity), DeadlineExceeded)
    assert unwrap(exceptions.CancelledError("x")).code == "CANCELLED"


def test_a_chain_in_a_circle_ends() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert unwrap(first).code == "INTERNAL"


@pytest.mark.parametrize(
    ("hint", "delay"),
    [
        (None, None),
        (2.5, timedelta(seconds=2.5)),
        (86_400, timedelta(seconds=RETRY_AFTER_LIMIT_S)),
        (0, None),
        (-1, None),
        (math.nan, None),
        (math.inf, None),
    ],
)
def test_the_hint_of_a_provider_is_followed_within_reason(hint: float | None, delay: timedelta | None) -> None:
    assert to_application_error(errors.ProviderThrottled("x", retry_after_s=hint)).next_retry_delay == delay


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.uuids() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.sets(st.text()),
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(), JSON_LIKE))
def test_details_are_always_small_plain_json(details: dict[str, object]) -> None:
    kept = bounded(details)
    assert len(json.dumps(kept, allow_nan=False)) <= DETAILS_LIMIT_BYTES + len('"truncated": true')
    assert set(kept) <= {*details, "truncated"}


def test_what_does_not_fit_is_said_to_be_missing() -> None:
    kept = bounded({"first": 1, "page": ["x" * 400] * 100, "after": 2})
    assert kept == {"first": 1, "truncated": True}


def test_details_in_a_circle_end() -> None:
    circle: dict[str, object] = {}
    circle["self"] = circle
    assert json.loads(json.dumps(bounded(circle)))


@pytest.mark.parametrize("kind", ["canceled_failure_info", "application_failure_info", "timeout_failure_info"])
def test_details_that_the_codec_refused_are_left_out(kind: str) -> None:
    """The server writes such details itself, in clear, when it cancels an activity that waits for its next try."""
    failure = Failure(message="outer", activity_failure_info=ActivityFailureInfo(activity_id="1"))
    failure.cause.message = "inner"
    info = getattr(failure.cause, kind)
    details = info.last_heartbeat_details if kind == "timeout_failure_info" else info.details
    details.payloads.append(refused("it is not sealed"))
    error = PlatformFailureConverter().from_failure(failure, PlatformPayloadConverter())
    assert isinstance(error, ActivityError)
    assert error.cause is not None
    assert "inner" in str(error.cause)
    assert len(details.payloads) == 1, "what the server keeps is not changed"


@pytest.mark.parametrize(
    "odd",
    [
        Failure(application_failure_info=ApplicationFailureInfo(category=99)),  # type: ignore[arg-type]  # no such value
        Failure(application_failure_info=ApplicationFailureInfo(next_retry_delay=Duration(seconds=2**62))),
        Failure(timeout_failure_info=TimeoutFailureInfo(timeout_type=99)),  # type: ignore[arg-type]  # no such value
        Failure(activity_failure_info=ActivityFailureInfo(retry_state=99)),  # type: ignore[arg-type]  # no such value
        Failure(application_failure_info=ApplicationFailureInfo(details=Payloads(payloads=[Payload()]))),
    ],
)
def test_a_failure_that_cannot_be_read_is_a_failure(odd: Failure) -> None:
    """Made up by somebody who reaches the server: to raise would hold the workflow that hears of it."""
    failure = Failure(activity_failure_info=ActivityFailureInfo(activity_id="1"), cause=odd)
    error = PlatformFailureConverter().from_failure(failure, PlatformPayloadConverter())
    assert isinstance(error, ActivityError)
    assert isinstance(error.cause, exceptions.ApplicationError)
    assert (error.cause.type, error.cause.non_retryable) == ("FAILURE_UNREADABLE", True)
    assert unwrap(error).code == "INTERNAL"
