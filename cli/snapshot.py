"""One look at an operation and the instance it works on: what a progress display shows."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cli.text import NOTHING, duration, moment, percent, printable, seconds_since, title_case
from models.domain.fleet.instances.progress import Step
from models.domain.fleet.operations import OperationKind
from models.domain.language import language
from models.domain.operations import OPEN, OperationStatus
from models.domain.sentences import HOLDS, WAITS, said_of_hold, said_of_wait
from models.domain.waits import SpineWait

STEP_LABELS = {
    Step.PROVIDER_CREATE: "Machine created",
    Step.PROVIDER_START: "Machine started",
    Step.PROVIDER_GET_IP: "Address known",
    Step.WORKER_REGISTERED: "Agent registered",
    Step.WORKER_INSTALL: "Agent prepared",
    Step.WORKER_VLLM_HTTP_OK: "Model server answers",
    Step.WORKER_MODEL_LOADED: "Model loaded",
    Step.HEALTH_CHECK: "Health check passed",
}
"""What each completed step means to a person; a step that this version does not know reads as its code in words."""

REINSTALL = OperationKind.INSTANCE_REINSTALL.value
_BOOTS = frozenset({OperationKind.INSTANCE_PROVISION.value, REINSTALL})


def step_label(code: str) -> str:
    return STEP_LABELS[Step(code)] if code in Step.__members__ else title_case(code)


@dataclass(frozen=True)
class Snapshot:
    """`percent` is 0 to 100; `steps` are the codes of this boot, completed, in order; `waiting` and `held` may be empty."""

    operation_status: str
    instance_status: str
    percent: float
    steps: tuple[str, ...]
    waiting: str
    held: str

    @property
    def is_open(self) -> bool:
        """Whether the operation is still under way. A status that this version does not know counts as ended."""
        return self.operation_status in {status.value for status in OPEN}

    @property
    def succeeded(self) -> bool:
        return self.operation_status == OperationStatus.SUCCEEDED.value


def snapshot(operation: dict[str, Any], instance: dict[str, Any] | None, now: datetime) -> Snapshot:
    """Percent and steps are the instance's while it boots, the operation's own otherwise.

    A reinstallation that has not begun finds the instance as its previous boot left it, which says nothing about this one.
    """
    if operation.get("kind") == REINSTALL and operation.get("status") == OperationStatus.PENDING.value:
        instance = None
    boots = operation.get("kind") in _BOOTS and instance is not None
    source = instance if boots and instance is not None else {}
    steps = source.get("completed_steps")
    succeeded = operation.get("status") == OperationStatus.SUCCEEDED.value
    return Snapshot(
        operation_status=str(operation.get("status")),
        instance_status=str((instance or {}).get("status") or ""),
        percent=100.0 if succeeded else percent(source.get("progress_percent", operation.get("progress"))),
        steps=tuple(str(step) for step in steps) if isinstance(steps, list) else (),
        waiting=waiting_clause(operation.get("waiting_on") or source.get("waiting_on"), now),
        held=held_clause(operation.get("held") or source.get("held")),
    )


def waiting_clause(waiting_on: Any, now: datetime | None = None) -> str:
    """What is waited for, why, since when and until when, as far as the API says: a word or {what, why, since, until}."""
    if not isinstance(waiting_on, dict):
        return printable(str(waiting_on)) if waiting_on else ""
    clause = printable(_waited_for(waiting_on))
    if not clause:
        return ""
    if waiting_on.get("why"):
        clause += f" ({printable(str(waiting_on['why']))})"
    since = seconds_since(waiting_on.get("since"), now or datetime.now(UTC))
    if since is not None and since >= 1:
        clause += f", {duration(since)}"
    until = moment(waiting_on.get("until"))
    if until is not None:
        clause += f", at most until {until.astimezone():%H:%M:%S}"
    return clause


def _waited_for(waiting_on: dict[str, Any]) -> str:
    """The sentence of its code; of one that only a newer server knows, and from an older server, what the answer says."""
    code, params = str(waiting_on.get("code") or ""), waiting_on.get("params")
    if code in WAITS and code != SpineWait.OTHER:
        return said_of_wait(code, params if isinstance(params, dict) else {}, language())
    return str(waiting_on.get("what") or code)


def held_clause(held: Any, now: datetime | None = None) -> str:
    """What keeps the owner from going on, and for how long where `now` is given. A code of a newer server stays a code."""
    code, since = _held(held, now)
    if not code:
        return ""
    clause = f"{said_of_hold(code, language())} ({code})" if code in HOLDS else code
    return f"{clause}, {since}" if since else clause


def held_cell(held: Any, now: datetime) -> str:
    """The same for a table: the code, and for how long."""
    return ", ".join(part for part in _held(held, now) if part) or NOTHING


def _held(held: Any, now: datetime | None) -> tuple[str, str]:
    if not isinstance(held, dict) or not held.get("code"):
        return "", ""
    since = None if now is None else seconds_since(held.get("since"), now)
    return printable(str(held["code"])), "" if since is None else duration(since)
