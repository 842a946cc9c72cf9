"""The fingerprint changes when, and only when, the commands do."""

import shutil
from pathlib import Path

import pytest

from workers.fingerprints import REGENERATE, ROOT, difference, fingerprints

SOURCE = """
from temporalio import workflow
import asyncio, json
from models.domain.things import FINAL, SENTENCES, is_over
from models.contracts import ids
from activities.runtime.failures import unwrap
from models.base.errors import is_ours
from workflows import options
from workflows.lib import limits

LATE_S = 60

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
        if is_over(request.state) or request.state in FINAL or request.is_open():
            await workflow.execute_child_workflow(Idle.run, id=ids.idle_id(request), **options.CHILD)
        workflow.logger.info(f"{SENTENCES['over']}")
        if request.tries > limits.MOST or request.age_s > LATE_S or is_ours(unwrap(request)):
            await limits.pause(limits.CALLS)
        workflow.continue_as_new(request)

@workflow.defn
class Idle:
    @workflow.run
    async def run(self): ...
"""

DOMAIN = '''
from models.base.errors import AppError
FINAL = frozenset({"over"})
SOON = ("ending",)
SENTENCES = {"over": "it is over"}
UNUSED = 1

def is_over(state):
    """Whether nothing is left."""
    return state in FINAL or _soon(state)

def _soon(state):
    return state in SOON

def of_others(state):
    return not state
'''

CONTRACTS = """
def idle_id(request):
    return f"idle/{request.id}"

class Request:
    def is_open(self):
        return self.number > 0

    def is_shown(self):
        return True
"""

LIMITS = """
MOST = 3
UNREAD = 4
SLOW = 5
CALLS = ActivityOptions(attempts=SLOW)

def pause(calls):
    return UNREAD
"""

FAILURES = """
def unwrap(failure):
    return failure.cause or failure
"""

ERRORS = """
def is_ours(failure):
    return failure.code == "OURS"
"""
VOCABULARY = {
    "models/domain/things.py": DOMAIN,
    "models/contracts/ids.py": CONTRACTS,
    "models/base/errors.py": ERRORS,
    "activities/runtime/failures.py": FAILURES,
    "workflows/lib/limits.py": LIMITS,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, text in {"workflows/thing.py": SOURCE, **VOCABULARY}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
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
            "run: child(Idle.run, id=ids.idle_id(request), **options.CHILD)",
            "run: continue_as_new()",
        ],
        "workflows/thing.py::Idle": [],
        "workflows/lib/limits.py::MOST": ["3"],
        "workflows/lib/limits.py::UNREAD": ["4"],
        "workflows/thing.py::LATE_S": ["60"],
        "activities/runtime/failures.py::unwrap": ["return failure.cause or failure"],
        "models/base/errors.py::is_ours": ["return failure.code == 'OURS'"],
        "models/contracts/ids.py::Request.is_open": ["return self.number > 0"],
        "models/contracts/ids.py::idle_id": ["return f'idle/{request.id}'"],
        "models/domain/things.py::FINAL": ["frozenset({'over'})"],
        "models/domain/things.py::SOON": ["('ending',)"],
        "models/domain/things.py::_soon": ["return state in SOON"],
        "models/domain/things.py::is_over": ["return state in FINAL or _soon(state)"],
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
        ("id=ids.idle_id(request)", "id=str(request)"),
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


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("models/domain/things.py", "return state in FINAL or", "return state not in FINAL or"),
        ("models/domain/things.py", '{"over"}', '{"over", "gone"}'),
        ("models/domain/things.py", '("ending",)', '("ending", "late")'),
        ("models/domain/things.py", "return state in SOON", "return state not in SOON"),
        ("models/contracts/ids.py", "idle/{", "idler/{"),
        ("models/contracts/ids.py", "self.number > 0", "self.number >= 0"),
        ("models/base/errors.py", '"OURS"', '"THEIRS"'),
        ("activities/runtime/failures.py", "failure.cause or", "failure.context or"),
        ("workflows/lib/limits.py", "MOST = 3", "MOST = 4"),
    ],
)
def test_a_change_of_what_is_decided_by_is_shown(folder: Path, path: str, old: str, new: str) -> None:
    assert REGENERATE in after_edit(folder, path, old, new)


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("models/domain/things.py", "Whether nothing is left", "Whether all is gone"),
        ("models/domain/things.py", "it is over", "it has ended"),
        ("models/domain/things.py", "return not state", "return bool(state)"),
        ("models/domain/things.py", "UNUSED = 1", "UNUSED = 2"),
        ("models/contracts/ids.py", "return True", "return False"),
        ("workflows/lib/limits.py", "SLOW = 5", "SLOW = 6"),
    ],
)
def test_other_changes_of_the_domain_are_not(folder: Path, path: str, old: str, new: str) -> None:
    assert after_edit(folder, path, old, new) == ""


def test_the_attempts_to_heal_are_in_the_fingerprints(tmp_path: Path) -> None:
    """Of the product itself: an instance that is out of attempts fails, where one more would restart its machine."""
    for part in ("workflows", "models", "activities"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    healing = tmp_path / "workflows/fleet/instances/healing.py"
    before = fingerprints(tmp_path / "workflows")
    assert before == fingerprints()
    healing.write_text(healing.read_text().replace("HEAL_ATTEMPTS: Final = 3", "HEAL_ATTEMPTS: Final = 4"))
    changed = difference(before, fingerprints(tmp_path / "workflows")).splitlines()
    assert [line for line in changed if line.startswith(("-  ", "+  "))] == ["-    3", "+    4"]


def after_edit(folder: Path, path: str, old: str, new: str) -> str:
    before = fingerprints(folder)
    assert old in VOCABULARY[path]
    (folder.parent / path).write_text(VOCABULARY[path].replace(old, new))
    return difference(before, fingerprints(folder))
