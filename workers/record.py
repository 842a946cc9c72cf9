"""Recorded histories, the replay gate's evidence: written once, never edited, withdrawn only with a date and a reason.

    tests/replay/histories/<Workflow>/<scenario>.json    what a real server recorded, in clear
    tests/replay/histories/log.jsonl                     one line per act, each holding the hash of the line before

A history is stored decrypted (payloads are base64 of JSON), because a reviewer must be able to read what is committed; only
tests record, so there is nothing in it to protect. Host names, process ids and stack traces are removed.

`python -m workers.record verify` and `python -m workers.record withdraw Instance/happy.json --patch ID --reason "…"`.
Recording happens in the tests that drive the workflow: see `tests/replay/recording.py`.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import TaskQueueKind
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.client import WorkflowHandle, WorkflowHistory
from temporalio.converter import PayloadCodec

from activities.runtime.codec import EncryptionCodec
from models.base.clock import utc_now

HISTORIES: Final = Path(__file__).parent.parent / "tests" / "replay" / "histories"
LOG: Final = "log.jsonl"
GENESIS: Final = "0" * 64
RECORDER: Final = "recorder"


class AlreadyRecorded(Exception):
    """A history is never overwritten: withdraw it, or choose another scenario name."""


async def record(
    handle: WorkflowHandle[Any, Any], scenario: str, codec: PayloadCodec | None, root: Path = HISTORIES
) -> Path:
    """Write the history of the run that the handle names, closed or not. Raises AlreadyRecorded.

    `codec` is that of the client under test, None where it has none.
    """
    history = await handle.fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes
    path = root / started.workflow_type.name / f"{scenario}.json"
    if path.exists():
        raise AlreadyRecorded(str(path.relative_to(root)))
    for event in history.events:
        await _in_clear(event, codec)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(json.loads(history.to_json()), indent=1, sort_keys=True) + "\n")
    _append(root, {"act": "recorded", "path": str(path.relative_to(root)), "sha256": _hash(path)})
    return path


def withdraw(name: str, patch: str, reason: str, root: Path = HISTORIES) -> None:
    """Delete a history that no running workflow can still have. `patch` names the `workflow.patched` id that replaced it.

    Raises KeyError for a history that is not recorded.
    """
    if name not in recorded(root):
        raise KeyError(name)
    (root / name).unlink(missing_ok=True)
    _append(root, {"act": "withdrawn", "path": name, "patch": patch, "reason": reason})


def recorded(root: Path = HISTORIES) -> dict[str, str]:
    """Path below the root -> sha256, of everything recorded and not withdrawn."""
    standing: dict[str, str] = {}
    for line in _lines(root):
        entry = json.loads(line)
        if entry["act"] == "recorded":
            standing[entry["path"]] = entry["sha256"]
        else:
            standing.pop(entry["path"], None)
    return standing


def verify(root: Path = HISTORIES) -> list[str]:
    """What is wrong with the evidence, one line each; empty when every history is as it was recorded."""
    problems: list[str] = []
    previous = GENESIS
    for number, line in enumerate(_lines(root), start=1):
        entry = json.loads(line)
        if entry["previous"] != previous:
            problems.append(f"{LOG} line {number} does not follow the line before it: the log was edited")
        if entry["act"] == "withdrawn" and not (entry.get("patch") and entry.get("reason") and entry.get("date")):
            problems.append(f"{LOG} line {number} withdraws {entry['path']} without patch, reason and date")
        previous = sha256(line.encode()).hexdigest()
    standing = recorded(root)
    present = {str(path.relative_to(root)) for path in root.rglob("*.json")}
    for name, digest in standing.items():
        if name not in present:
            problems.append(
                f"{name} was removed: `python -m workers.record withdraw {name} --patch … --reason …` says why"
            )
        elif _hash(root / name) != digest:
            problems.append(f"{name} was edited: a history is evidence; restore it, or withdraw it and record another")
    return problems + [f"{name} is not in {LOG}: record it, do not copy it" for name in sorted(present - set(standing))]


def histories(root: Path = HISTORIES) -> Iterator[tuple[str, WorkflowHistory]]:
    """Every standing history with its name, ready for the Replayer."""
    for name in sorted(recorded(root)):
        stored = json.loads((root / name).read_text())
        yield name, WorkflowHistory.from_json(name.removesuffix(".json"), stored)


async def _in_clear(message: Message, codec: PayloadCodec | None) -> None:
    """Decrypt every payload at any depth, and take out what names this machine."""
    if isinstance(message, TaskQueue) and message.kind == TaskQueueKind.TASK_QUEUE_KIND_STICKY:
        message.name = RECORDER  # pid, host name and a number
    for field, value in message.ListFields():
        if field.name in {"identity", "binary_checksum", "stack_trace"} and field.type == FieldDescriptor.TYPE_STRING:
            setattr(message, field.name, RECORDER if field.name == "identity" else "")
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for each in _messages(field, value):
                if isinstance(each, Payload):
                    await _open(each, codec)
                else:
                    await _in_clear(each, codec)


async def _open(payload: Payload, codec: PayloadCodec | None) -> None:
    if codec is not None:
        [opened] = (
            codec.decode_by_claim([payload])  # a history holds what is sealed for children and for others, too
            if isinstance(codec, EncryptionCodec)
            else await codec.decode([payload])
        )
        payload.CopyFrom(opened)
    if payload.metadata.get("encoding") == b"json/plain" and b'"stack_trace"' in payload.data:
        content = json.loads(payload.data)
        if isinstance(content, dict) and set(content) == {"message", "stack_trace"}:  # a failure's encoded attributes
            payload.data = json.dumps({**content, "stack_trace": ""}).encode()


def _messages(field: FieldDescriptor, value: Any) -> list[Message]:
    """The messages in a singular, repeated or map field."""
    if isinstance(value, Message):
        return [value]
    found = value.values() if hasattr(value, "values") else value  # a map keeps messages as values
    return [each for each in found if isinstance(each, Message)]


def _append(root: Path, entry: dict[str, str]) -> None:
    lines = _lines(root)
    previous = sha256(lines[-1].encode()).hexdigest() if lines else GENESIS
    line = json.dumps({**entry, "date": _today().isoformat(), "previous": previous}, sort_keys=True)
    with (root / LOG).open("a") as log:
        log.write(line + "\n")


def _lines(root: Path) -> list[str]:
    log = root / LOG
    return log.read_text().splitlines() if log.exists() else []


def _hash(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _today() -> date:
    return utc_now().date()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m workers.record", description="the replay gate's recorded histories"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("verify", help="exit 1 if a history was edited, removed or added by hand")
    drop = commands.add_parser("withdraw", help="delete a history, with a dated reason")
    drop.add_argument("name")
    drop.add_argument("--patch", required=True)
    drop.add_argument("--reason", required=True)
    chosen = parser.parse_args(arguments)
    if chosen.command == "withdraw":
        withdraw(chosen.name, chosen.patch, chosen.reason)
    problems = verify()
    sys.stdout.write("".join(f"{problem}\n" for problem in problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
