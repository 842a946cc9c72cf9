"""AppError on one side of Temporal, AppError on the other.

Outbound, `to_application_error` is the only translation: the type is the code, whether and when to retry is the error's own
word, details are bounded. Inbound, `unwrap` finds the AppError again behind ActivityError, ChildWorkflowError and
WorkflowFailureError. `PlatformFailureConverter` applies the outbound rule to an AppError raised in workflow code too, which
Temporal would otherwise reduce to its class name and text, and moves every message and stack trace into the part of a
failure that the codec encrypts.
"""

import json
import math
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from temporalio import exceptions
from temporalio.api.failure.v1 import Failure
from temporalio.client import WorkflowFailureError
from temporalio.converter import DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError, FailureError

from activities.runtime.refusal import PayloadRefused, is_refused
from models.base.errors import AppError, DeadlineExceeded, PartialCreate

DETAILS_LIMIT_BYTES: Final = 4_096
"""Largest details of one failure as JSON: they are kept in the history, once per failed attempt that is recorded."""

TEXT_LIMIT: Final = 500
"""Longest text within the details, in characters."""

DEPTH_LIMIT: Final = 6
"""Deepest nesting within the details that is kept as structure; below it a value is kept as text."""

RETRY_AFTER_LIMIT_S: Final = 300.0
"""Longest delay taken from a provider, in seconds. `Retry-After: 86400` must not leave a billed machine alone for a day."""


UNREADABLE: Final = "FAILURE_UNREADABLE"
"""Type of what stands in for a failure that cannot be converted."""


def to_application_error(error: AppError) -> ApplicationError:
    """The error as Temporal carries it; raise it `from None`, or the vendor's exception follows it into the history."""
    return ApplicationError(
        error.message,
        {"class": type(error).__name__, "details": bounded(error.details), "retry_after_s": error.retry_after_s},
        type=error.code,
        non_retryable=not error.retryable,
        next_retry_delay=_retry_delay(error.retry_after_s),
    )


def unwrap(failure: BaseException) -> AppError:
    """The AppError behind a failure of an activity, child or workflow; an AppError itself comes back as it is.

    Without one behind it a time-out is `DeadlineExceeded`, a cancellation `AppError` with code `CANCELLED`, and anything else
    `AppError` with code `INTERNAL` and a text that repeats nothing of the original.
    """
    timed_out = cancelled = False
    for link in _chain(failure):
        if isinstance(link, AppError):
            return link
        if isinstance(link, ApplicationError) and (ours := _from_application_error(link)) is not None:
            return ours
        timed_out = timed_out or isinstance(link, exceptions.TimeoutError)
        cancelled = cancelled or isinstance(link, exceptions.CancelledError)
    if timed_out:
        return DeadlineExceeded("the step did not finish within its time limit")
    if cancelled:
        return AppError("the operation was cancelled", code="CANCELLED")
    return AppError("the operation failed unexpectedly", details={"class": type(failure).__name__})


def bounded(details: Mapping[str, object]) -> dict[str, Any]:
    """The details as plain JSON values, long texts cut, entries dropped from the end until they fit `DETAILS_LIMIT_BYTES`."""
    kept: dict[str, Any] = {}
    size = 2
    for key, value in details.items():
        plain = _plain(value)
        size += len(json.dumps({key: plain}))
        if size > DETAILS_LIMIT_BYTES:
            kept["truncated"] = True
            break
        kept[key] = plain
    return kept


class PlatformFailureConverter(DefaultFailureConverter):
    """Failures whose message and stack trace travel in `encoded_attributes`, with AppErrors translated by the one rule."""

    def __init__(self) -> None:
        super().__init__(encode_common_attributes=True)

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        if isinstance(exception, AppError):
            translated = to_application_error(exception)
            translated.__traceback__ = exception.__traceback__
            translated.__suppress_context__ = True
            exception = translated
        elif isinstance(exception.__cause__, PayloadRefused):
            exception = exception.__cause__  # the SDK puts one that may be tried again around it
        super().to_failure(exception, payload_converter, failure)

    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        """Without the details that the codec refused; for what cannot be read, an error that says so.

        The server itself writes some in clear, into the cancellation of an activity that waits for its next try; to convert
        them would end a workflow that only wants to know that it failed. And whoever reaches the server can say that an activity
        failed, with kinds of failures that nobody knows: an error here would hold the workflow in a task that fails for ever.
        """
        try:
            return super().from_failure(_without_refused_details(failure), payload_converter)
        except Exception as error:  # noqa: BLE001  (numbers of enumerations, durations, and what the SDK comes to convert)
            return ApplicationError(
                f"the failure cannot be read ({type(error).__name__})", type=UNREADABLE, non_retryable=True
            )


def _without_refused_details(failure: Failure) -> Failure:
    """The same failure where it has none; its causes are looked at when they are converted."""
    kept = Failure()
    kept.CopyFrom(failure)
    for payloads in (
        kept.application_failure_info.details,
        kept.canceled_failure_info.details,
        kept.timeout_failure_info.last_heartbeat_details,
    ):
        ours = [payload for payload in payloads.payloads if not is_refused(payload)]
        if len(ours) != len(payloads.payloads):
            del payloads.payloads[:]
            payloads.payloads.extend(ours)
    return kept


def _retry_delay(retry_after_s: float | None) -> timedelta | None:
    if retry_after_s is None or not math.isfinite(retry_after_s) or retry_after_s <= 0:
        return None
    return timedelta(seconds=min(retry_after_s, RETRY_AFTER_LIMIT_S))


def _chain(failure: BaseException) -> Iterator[BaseException]:
    """The failure and what caused it, outermost first."""
    link: BaseException | None = failure
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.cause if isinstance(link, FailureError | WorkflowFailureError) else link.__cause__


def _from_application_error(failure: ApplicationError) -> AppError | None:
    """The AppError that the failure stands for; None for one that is not of ours."""
    wire = failure.details[0] if failure.details and isinstance(failure.details[0], Mapping) else {}
    cls = _class_for(str(wire.get("class", "")), failure.type or "")
    if cls is None:
        return None
    details, retry_after_s = wire.get("details"), wire.get("retry_after_s")
    # Not through the class's own constructor: PartialCreate, for one, takes other arguments.
    error = cls.__new__(cls)
    AppError.__init__(
        error,
        failure.message,
        code=failure.type if wire else None,
        details=details if isinstance(details, Mapping) else None,
        retry_after_s=retry_after_s if isinstance(retry_after_s, int | float) else None,
    )
    if isinstance(error, PartialCreate):
        error.resource_id = str(error.details.get("resource_id", ""))
    return error


def _class_for(class_name: str, type_name: str) -> type[AppError] | None:
    """The class named in the details, else the one with this code, else the one with this name."""
    for wanted, read in ((class_name, "__name__"), (type_name, "code"), (type_name, "__name__")):
        for cls in _tree(AppError):
            if wanted and getattr(cls, read) == wanted:
                return cls
    return AppError if class_name else None  # a newer worker's error class: its code and details still hold


def _tree(root: type[AppError]) -> Iterator[type[AppError]]:
    """Breadth first: a subclass that inherits its parent's code never shadows the parent."""
    level = [root]
    while level:
        yield from level
        level = [child for parent in level for child in parent.__subclasses__()]


def _plain(value: object, depth: int = 0) -> Any:
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, Mapping) and depth < DEPTH_LIMIT:
        return {str(key)[:TEXT_LIMIT]: _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth < DEPTH_LIMIT:
        return [_plain(item, depth + 1) for item in value]
    return str(value)[:TEXT_LIMIT]
