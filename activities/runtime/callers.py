"""Which workflow may have an activity run, and on whose behalf: an activity does not act on the word of whoever schedules it."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from temporalio import activity, worker
from temporalio.exceptions import ApplicationError

from activities.runtime.codec import is_scheduled_run
from models.contracts.owner_kinds import OwnerKind
from models.contracts.schedules import parse_run_id

logger = logging.getLogger(__name__)

CODE: Final = "CALLER_REFUSED"
NAMING_FIELDS: Final = ("key", "spec")
"""Fields of an argument that name the resource where the argument does not do so itself."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The workflow type that may call, and the ids it may have."""

    workflow_type: str
    is_id: Callable[[str], bool]
    resource_of: Callable[[str], UUID | None] | None = None
    """The resource that a workflow id stands for: only this one may the activity's argument name. None: it names none."""
    id_field: str = "resource_id"
    """Where the argument, or one of its `NAMING_FIELDS`, names it."""


def owner_of(kind: OwnerKind) -> Caller:
    """The workflows that own resources of this kind, each its own one."""
    return Caller(kind.workflow, lambda one: kind.resource_of(one) is not None, kind.resource_of, kind.id_field)


def scheduled(workflow: str, id_prefix: str) -> Caller:
    """The runs of schedules that start this workflow under ids of this prefix, each for its own row."""

    def row_of(workflow_id: str) -> UUID | None:
        found = parse_run_id(id_prefix, workflow_id)
        return found if found is not None and is_scheduled_run(workflow_id, f"{id_prefix}{found}") else None

    return Caller(workflow, lambda one: row_of(one) is not None, row_of, "schedule_id")


def alone(expected: str) -> Callable[[str], bool]:
    """The one workflow of that id, or a run of the schedule of that id."""
    return lambda workflow_id: workflow_id == expected or is_scheduled_run(workflow_id, expected)


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
    if caller.resource_of is not None and named_by(arguments[0], caller.id_field) != caller.resource_of(workflow_id):
        return "it is about another resource than the workflow's"
    return None


def named_by(argument: object, id_field: str) -> UUID | None:
    """The resource that an argument of an owner's activity is about."""
    for naming in (argument, *(getattr(argument, field, None) for field in NAMING_FIELDS)):
        found = getattr(naming, id_field, None)
        if isinstance(found, UUID):
            return found
    return None
