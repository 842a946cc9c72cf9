"""What an object or an operation waits for, as every answer says it (DESIGN rule 7)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from api.schemas.base import Moment, ResponseModel
from models.domain.sentences import said_of_wait, wait_of_row, who_of_wait
from models.domain.words import Who


class WaitingAction(ResponseModel):
    """Something that can be done about it: a request to this API."""

    name: str
    method: str
    path: str


class WaitingOn(ResponseModel):
    """Nothing waits in silence: for what (`code`, and `params` that its sentence names), since when, until when at most, whose
    turn it is, and what can be done about it. Programs branch on the code and make the sentence for people from it; `what` is
    the English one and `why` the last error, for clients that make none.
    """

    code: str
    params: dict[str, Any]
    since: Moment | None
    until: Moment | None
    who: Who
    actions: list[WaitingAction]
    what: str
    why: str | None


class Span(NamedTuple):
    since: datetime | None
    until: datetime | None


def waiting_on(
    code: str,
    params: Mapping[str, object] | None,
    span: Span,
    *,
    why: str | None,
    actions: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """The fields of `WaitingOn`, from what a row says."""
    code, told = wait_of_row(code, params)
    return {
        "code": code,
        "params": dict(told),
        "since": span.since,
        "until": span.until,
        "who": who_of_wait(code).value,
        "actions": list(actions),
        "what": said_of_wait(code, told),
        "why": why,
    }
