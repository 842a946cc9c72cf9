"""Patches are listed in one module, each with its date and what ends it, and what needs one is recorded for as long as it is there."""

import ast
import base64
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TypeGuard

from workers import record
from workflows import patches

WORKFLOWS = Path(patches.__file__).parent
MODULE = ast.parse(Path(patches.__file__).read_text())
DATED = re.compile(r"20\d\d-[01]\d-[0-3]\d(-[a-z]+)+")
OLDER_THAN_THE_RULE = {"look-after-refused-restart"}
CALLS = ("patched", "deprecate_patch")


def listed() -> dict[str, tuple[str, str]]:
    """Name -> id and docstring."""
    found = {}
    for statement, following in pairwise(MODULE.body):
        if isinstance(statement, ast.AnnAssign):
            id_ = ast.literal_eval(statement.value) if statement.value else ""
            found[ast.unparse(statement.target)] = (
                id_,
                ast.literal_eval(following.value) if _is_text(following) else "",
            )
    return found


def _is_text(statement: ast.stmt) -> TypeGuard[ast.Expr]:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def arguments() -> Iterator[tuple[str, str]]:
    """Where a patch is asked for, and by what."""
    for path in sorted(WORKFLOWS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in CALLS:
                yield f"{path.name}:{node.lineno}", ast.unparse(node.args[0])


def markers(root: Path) -> Iterator[tuple[str, str]]:
    """Recorded history -> a patch that it bears the marker of."""
    for name in record.recorded(root):
        for event in json.loads((root / name).read_text())["events"]:
            marker = event.get("markerRecordedEventAttributes", {})
            if marker.get("markerName") == "core_patch":
                for payload in marker["details"]["patch-data"]["payloads"]:
                    yield name, json.loads(base64.b64decode(payload["data"]))["id"]


def test_each_is_dated_once_and_says_what_ends_it() -> None:
    ids = [id_ for id_, _ in listed().values()]
    assert len(set(ids)) == len(ids)
    assert [id_ for id_ in ids if not DATED.fullmatch(id_) and id_ not in OLDER_THAN_THE_RULE] == []
    assert [
        name for name, (_, text) in listed().items() if not re.search(r"Runs .*\bGoes when ", text, re.DOTALL)
    ] == []


def test_each_is_used_and_asked_for_by_its_name_alone() -> None:
    asked = list(arguments())
    assert {text for _, text in asked} == {f"patches.{name}" for name in listed()}, asked


def test_what_is_recorded_needs_no_patch_that_is_gone() -> None:
    """Who removes a patch withdraws the histories that bear its marker, by its id: they are of runs that had the new way."""
    ids = {id_ for id_, _ in listed().values()}
    borne = list(markers(record.HISTORIES))
    assert {id_ for _, id_ in borne} & ids, "the markers are read"
    needed = [
        f"{name} needs {id_}: python -m workers.record withdraw {name} --patch {id_}"
        for name, id_ in borne
        if id_ not in ids
    ]
    assert needed == []


def test_each_patch_has_a_history_that_bears_it() -> None:
    """And one of before, which is what it is there for; that only a replay can tell."""
    missing = {id_ for id_, _ in listed().values()} - {id_ for _, id_ in markers(record.HISTORIES)}
    assert missing == set(), "RECORD_HISTORIES=1 records what the tests of the change drive"
