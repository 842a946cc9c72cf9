"""The fingerprint changes when, and only when, the commands do."""

from pathlib import Path

import pytest

from workers.fingerprints import REGENERATE, difference, fingerprints

SOURCE = """
from temporalio import workflow
import asyncio, json
from workflows import options

async def helper(owner):
    await owner.project("x")

def pure(value):
    return json.loads(value)

class Owner:
    async def project(self, state):
        await workflow.execute_local_activity_method(Acts.project, state, **options.RECORD)

@workflow.defn(name="Thing")
class Thing:
    @workflow.run
    async def run(self, request):
        if workflow.patched("2026-01-01-two-steps"):
            await workflow.execute_activity_method(
                Acts.create, request, **options.CREATE
            )
        await helper(self)
        await workflow.wait_condition(lambda: self.done)
        await workflow.wait_condition(lambda: self.done, timeout=options.WAIT)
        await asyncio.sleep(5)
        workflow.continue_as_new(request)

@workflow.defn
class Idle:
    @workflow.run
    async def run(self): ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "thing.py").write_text(SOURCE)
    return tmp_path / "workflows"


def after(folder: Path, old: str, new: str) -> str:
    before = fingerprints(folder)
    assert old in SOURCE
    (folder / "thing.py").write_text(SOURCE.replace(old, new))
    return difference(before, fingerprints(folder))


def test_every_command_is_listed_in_source_order(folder: Path) -> None:
    assert fingerprints(folder) == {
        "workflows/thing.py::helper": ["helper: -> project()"],
        "workflows/thing.py::Owner": ["project: local_activity(Acts.project, **options.RECORD)"],
        "workflows/thing.py::Thing": [
            "run: patched('2026-01-01-two-steps')",
            "run: activity(Acts.create, **options.CREATE)",
            "run: -> helper()",
            "run: timer(wait_condition)",
            "run: timer()",
            "run: continue_as_new()",
        ],
        "workflows/thing.py::Idle": [],
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("        await helper(self)\n", ""),
        ("        await helper(self)\n", "        await helper(self)\n        await helper(self)\n"),
        ("Acts.create", "Acts.order"),
        ("options.CREATE", "options.READ"),
        ("two-steps", "three-steps"),
        (", timeout=options.WAIT", ""),
        ("        await asyncio.sleep(5)\n", ""),
        ('    await owner.project("x")\n', '    await owner.project("x")\n    await workflow.sleep(1)\n'),
        ("@workflow.defn\nclass Idle", "class Idle"),
    ],
)
def test_a_change_of_commands_is_shown_with_what_to_do(folder: Path, old: str, new: str) -> None:
    changed = after(folder, old, new)
    assert REGENERATE in changed
    assert "workflow.patched" in changed
    assert any(line.startswith(("+w", "-w", "+ ", "- ")) for line in changed.splitlines())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("json.loads(value)", "json.dumps(value)"),
        ('    await owner.project("x")\n', '    # a comment\n    await owner.project("x")\n'),
        (
            "Acts.create, request, **options.CREATE\n",
            "Acts.create,\n                request,\n                **options.CREATE,\n",
        ),
        ("lambda: self.done)", "lambda: self.over)"),
    ],
)
def test_other_changes_are_not(folder: Path, old: str, new: str) -> None:
    assert after(folder, old, new) == ""


def test_two_commands_that_change_places_are_seen(folder: Path) -> None:
    sleep, helped = "        await asyncio.sleep(5)\n", "        await helper(self)\n"
    before = fingerprints(folder)
    (folder / "thing.py").write_text(SOURCE.replace(sleep, "").replace(helped, sleep + helped))
    assert difference(before, fingerprints(folder))
