"""Which workflow may have an activity run, and on whose behalf: an activity does not act on the word of whoever schedules it."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from temporalio import activity, worker
from temporalio.exceptions import ApplicationError

logger = logging.getLogger(__name__)

CODE: Final = "CALLER_REFUSED"
NAMING_FIELDS: Final = ("key", "spec")
"""Fields of an argument that name the instance where the argument has no `instance_id` itself."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The workflow type that may call, and the ids it may have."""

    workflow_type: str
    is_id: Callable[[str], bool]
    instance_of: Callable[[str], UUID | None] | None = None
    """The instance that a workflow id stands for: only this one may the activity's argument name. None: it names none."""


class CallersOnly(worker.Interceptor):
    """Refuses, for good, an activity that is not scheduled by its caller; one without a workflow; one that nobody may call."""

    def __init__(self, callers: Mapping[str, Caller]) -> None:
        self._callers = callers

    def intercept_activity(self, inner: worker.ActivityInboundInterceptor) -> worker.ActivityInboundInterceptor:
        return _Checking(inner, self._callers)


class _Checking(worker.ActivityInboundInterceptor):
    def __init__(self, inner: worker.ActivityInboundInterceptor, callers: Mapping[str, Caller]) -> None:
        super().__init__(inner)
        self._callers = callers

    async def execute_activity(self, call: worker.ExecuteActivityInput) -> Any:
        info = activity.info()
        reason = objection(self._callers.get(info.activity_type), info.workflow_type, info.workflow_id, [*call.args])
        if reason is not None:
            logger.error(
                "activity %s is refused to workflow %s of type %s: %s",
                info.activity_type,
                info.workflow_id,
                info.workflow_type,
                reason,
            )
            raise ApplicationError(f"{info.activity_type} is refused: {reason}", type=CODE, non_retryable=True)
        return await self.next.execute_activity(call)


def objection(
    caller: Caller | None, workflow_type: str | None, workflow_id: str | None, arguments: list[Any]
) -> str | None:
    """Why this call is not run; None for one that is."""
    if workflow_id is None or workflow_type is None:
        return "no workflow has asked for it"
    if caller is None:
        return "no workflow may call it"
    if workflow_type != caller.workflow_type or not caller.is_id(workflow_id):
        return "this workflow may not call it"
    if len(arguments) != 1 or arguments[0] is None:
        return "an activity has one argument"
    if caller.instance_of is not None and instance_named_by(arguments[0]) != caller.instance_of(workflow_id):
        return "it is about another instance than the workflow's"
    return None


def instance_named_by(argument: object) -> UUID | None:
    """The instance that an argument of an owner's activity is about."""
    for naming in (argument, *(getattr(argument, field, None) for field in NAMING_FIELDS)):
        found = getattr(naming, "instance_id", None)
        if isinstance(found, UUID):
            return found
    return None
