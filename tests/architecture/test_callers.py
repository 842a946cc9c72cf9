"""The table of who may call which activity says what the workflows' source says."""

import ast
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_type_hints
from uuid import UUID

import pytest
from pydantic import BaseModel

from activities.runtime.callers import NAMING_FIELDS, Caller, objection
from models.base.ids import new_id
from models.contracts.fleet.instances import AwaitDrained, InstanceKey
from tests.architecture.test_families import NAMES
from workers import registry

WORKFLOWS = Path(__file__).parents[2] / "workflows"
CALL = re.compile(r"\b\w+Activities\.(\w+)")
DEFINITION = re.compile(r"@workflow\.defn\(name=\"(\w+)\"\)")
INSTANCE, OTHER = UUID("0abc" * 8), UUID("1abc" * 8)


def callers_in_source() -> dict[str, set[str]]:
    """Activity -> the workflow types in whose package or module it is named, in its family's folder. One feature is one stem."""
    texts: dict[str, str] = defaultdict(str)
    for path in sorted(WORKFLOWS.rglob("*.py")):
        parts = path.relative_to(WORKFLOWS).parts
        texts["/".join(parts[: 2 if parts[0] in NAMES else 1])] += ast.unparse(ast.parse(path.read_text())).replace(
            "'", '"'
        )
    found: dict[str, set[str]] = defaultdict(set)
    for text in texts.values():
        for name in CALL.findall(text):
            found[name] |= set(DEFINITION.findall(text))
    return found


def test_the_table_is_what_the_source_says() -> None:
    """A new activity needs an entry in `called_by` of its family: without one it is refused to everybody."""
    assert {name: {caller.workflow_type} for name, caller in registry.CALLERS.items()} == callers_in_source()


@pytest.mark.parametrize("activities", registry.CALLED_BY)
def test_what_an_owner_has_done_names_its_resource(activities: type) -> None:
    """Else it could not be told whose it is, and would be refused to everybody."""
    for name in registry.activity_names(activities):
        caller = registry.CALLERS[name]
        if caller.resource_of is not None:
            [argument] = [kind for key, kind in get_type_hints(getattr(activities, name)).items() if key != "return"]
            named = [argument, *(model_field(argument, field) for field in NAMING_FIELDS)]
            assert any(model_field(each, caller.id_field) is UUID for each in named if each is not None), name


def model_field(model: Any, name: str) -> Any:
    field = model.model_fields.get(name) if isinstance(model, type) and issubclass(model, BaseModel) else None
    return None if field is None else field.annotation


def asked(
    activity: str, workflow_type: str | None, workflow_id: str | None, arguments: Sequence[object] = ()
) -> str | None:
    return objection(registry.CALLERS.get(activity), workflow_type, workflow_id, list(arguments))


def key(instance_id: UUID) -> InstanceKey:
    return InstanceKey(instance_id=instance_id, organization_id=new_id())


def test_an_owner_is_served_for_its_own_instance_only() -> None:
    own = f"instance/{INSTANCE}"
    assert asked("load_instance", "Instance", own, [key(INSTANCE)]) is None
    assert asked("await_drained", "Instance", own, [AwaitDrained(key=key(INSTANCE), timeout_s=1)]) is None
    assert asked("load_instance", "Instance", own, [key(OTHER)]) == "it is about another resource than the workflow's"
    assert asked("await_drained", "Instance", own, [AwaitDrained(key=key(OTHER), timeout_s=1)]) is not None
    assert asked("load_instance", "Instance", own, [{"instance_id": str(INSTANCE)}]) is not None
    for arguments in ([], [None], [key(INSTANCE), key(INSTANCE)]):
        assert asked("load_instance", "Instance", own, arguments) == "an activity has one argument"


@pytest.mark.parametrize(
    ("workflow_type", "workflow_id"),
    [
        (None, None),
        ("Sweeper", f"instance/{INSTANCE}"),
        ("Instance", "sweeper"),
        ("Instance", f"instance/{str(INSTANCE).upper()}"),
        ("Instance", f"instance/{{{INSTANCE}}}"),
        ("Instance", f"instance/{INSTANCE}-2026-11-26T10:00:00Z"),
        ("Instance", f"instance/{INSTANCE}/child"),
        ("Evil", "evil"),
    ],
)
def test_nobody_else_is(workflow_type: str | None, workflow_id: str | None) -> None:
    assert asked("load_instance", workflow_type, workflow_id, [key(INSTANCE)]) is not None


def test_a_run_of_a_schedule_is_served_and_nothing_that_looks_like_one() -> None:
    for workflow_id, served in (
        ("sweeper", True),
        ("sweeper-2026-11-26T10:00:00Z", True),
        ("sweeper-1", False),
        ("samples", False),
    ):
        assert (asked("sweep", "Sweeper", workflow_id, [object()]) is None) is served


def test_an_activity_without_an_entry_is_refused_to_everybody() -> None:
    assert objection(None, "Instance", f"instance/{INSTANCE}", [key(INSTANCE)]) == "no workflow may call it"
    assert Caller("A", lambda _: True).resource_of is None
