"""Whose request an activity or a log line belongs to.

A `RequestContext` is set by the API for the time of a request; the interceptor carries it through workflows to every
activity as a Temporal header. It holds identifiers only: headers are not encrypted, which keeps them readable in the UI.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from temporalio import activity, workflow


@dataclass(frozen=True, slots=True)
class RequestContext:
    """`request_id` is that of the request which began the work, for an entity workflow the one that created the entity."""

    request_id: str | None = None
    organization_id: str | None = None


_current: ContextVar[RequestContext | None] = ContextVar("quarterdeck_request_context", default=None)


def current_context() -> RequestContext | None:
    return _current.get()


@contextmanager
def bound_context(context: RequestContext | None) -> Iterator[None]:
    """`context` is the current one within the block. None leaves what is bound as it is."""
    if context is None:
        yield
        return
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)


def set_context(context: RequestContext | None) -> None:
    """Bind for the rest of this task: in a workflow, whose handlers are tasks of their own, there is no block to leave."""
    _current.set(context)


class ContextFilter(logging.Filter):
    """Puts the identifiers of the running activity or workflow and of its request on each record; it drops none.

    To be added to handlers, so that libraries' records get them too. Attributes, present on every record, None where they
    do not apply: `request_id`, `organization_id`, `workflow_id`, `run_id`, `activity`, `activity_id`, `attempt`.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        context = current_context() or RequestContext()
        fields: dict[str, object] = {
            "request_id": context.request_id,
            "organization_id": context.organization_id,
            **_running(),
        }
        for name, value in fields.items():
            if getattr(record, name, None) is None:  # what the call itself passed as `extra` stands
                setattr(record, name, value)
        return True


def _running() -> dict[str, object]:
    fields: dict[str, object] = dict.fromkeys(("workflow_id", "run_id", "activity", "activity_id", "attempt"))
    if activity.in_activity():
        a = activity.info()
        fields |= {
            "workflow_id": a.workflow_id,
            "run_id": a.workflow_run_id,
            "activity": a.activity_type,
            "activity_id": a.activity_id,
            "attempt": a.attempt,
        }
    elif workflow.in_workflow():
        w = workflow.info()
        fields |= {"workflow_id": w.workflow_id, "run_id": w.run_id, "attempt": w.attempt}
    return fields
