"""Watching an operation to its end: its events say when to look, the operation itself says what is so."""

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cli.api_client import Api
from cli.event_feed import follow
from cli.failures import CommandFailed, ExitCode
from cli.progress import view_for
from cli.session import Session
from cli.snapshot import Snapshot, snapshot
from models.domain.sentences import said_of_error

LOOK_EVERY_S = 2.0
"""Longest time between two looks, for an API whose events do not arrive."""
LOOKS_PER_S = 10.0
"""Most looks in a second, however many events arrive."""


@dataclass(frozen=True)
class Outcome:
    """The operation as it ended and, if it works on one, the instance."""

    operation: dict[str, Any]
    instance: dict[str, Any] | None


def follow_operation(session: Session, operation_id: str, *, timeout_s: float | None) -> Outcome:
    """The outcome of an operation, drawn while it runs.

    Raises CommandFailed: exit 7, naming the operation, when the watching ends first (Ctrl-C, `timeout_s`, an API that
    stays away). The operation is never cancelled.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    bell = _Bell(session.api, operation_id)
    try:
        with view_for(session.screen) as view:
            while True:
                outcome, seen = _look(session.api, operation_id)
                view.show(seen)
                if not seen.is_open:
                    return outcome
                if deadline is not None and time.monotonic() >= deadline:
                    raise _still_running(operation_id, f"not finished after {timeout_s:g} s", code="WAIT_TIMEOUT")
                bell.wait(LOOK_EVERY_S if deadline is None else min(LOOK_EVERY_S, max(deadline - time.monotonic(), 0)))
    except KeyboardInterrupt:
        raise _still_running(operation_id, "detached", code="DETACHED") from None
    except CommandFailed as failure:
        if failure.operation_id is None:
            failure.operation_id = operation_id
            if failure.code == "API_UNREACHABLE":
                failure.exit_code = ExitCode.STILL_RUNNING
                failure.hints = _how_to_follow(operation_id)
        raise


def failed_operation(operation: dict[str, Any], *, hints: list[str]) -> CommandFailed:
    """The failure for an operation that ended without success."""
    error = operation.get("error")
    reason: dict[str, Any] = error if isinstance(error, dict) else {}
    code = reason.get("code") or operation.get("error_code")
    message = reason.get("message") or operation.get("error_message") or said_of_error(str(code))
    return CommandFailed(
        f"the operation {operation.get('kind')} {operation.get('status')}" + (f": {message}" if message else ""),
        code=str(code or f"OPERATION_{operation.get('status')}").upper(),
        operation_id=str(operation.get("id")),
        hints=hints,
    )


def _look(api: Api, operation_id: str) -> tuple[Outcome, Snapshot]:
    operation = api.get(f"/operations/{operation_id}")
    resource = operation.get("resource") or {}
    instance = api.get(f"/instances/{resource['id']}") if resource.get("kind") == "instance" else None
    return Outcome(operation, instance), snapshot(operation, instance, datetime.now(UTC))


def _still_running(operation_id: str, message: str, *, code: str) -> CommandFailed:
    return CommandFailed(
        f"{message}; the operation goes on",
        code=code,
        exit_code=ExitCode.STILL_RUNNING,
        operation_id=operation_id,
        hints=_how_to_follow(operation_id),
    )


def _how_to_follow(operation_id: str) -> list[str]:
    return ["It was not cancelled. To follow it again:", f"quarterdeck operations --watch {operation_id}"]


class _Bell:
    """Rings when the operation has an event. A reader in the background, so that the watching can be interrupted."""

    def __init__(self, api: Api, operation_id: str) -> None:
        self._rung = threading.Event()
        self._last_wait_ended = 0.0
        path = f"/operations/{operation_id}/events"
        threading.Thread(target=self._listen, args=(api, path), name="operation-events", daemon=True).start()

    def wait(self, timeout_s: float) -> None:
        self._rung.wait(timeout_s)
        time.sleep(max(0.0, min(timeout_s, self._last_wait_ended + 1 / LOOKS_PER_S - time.monotonic())))
        self._rung.clear()
        self._last_wait_ended = time.monotonic()

    def _listen(self, api: Api, path: str) -> None:
        try:
            with Api(api.connection, _say_nothing) as own:
                for _ in follow(own, path):
                    self._rung.set()
        except CommandFailed:
            return  # an API without these events: the watching goes on, a look every LOOK_EVERY_S


def _say_nothing(_: str) -> None:
    """The watching itself reports an outage; its bell need not."""
