"""What an owner may change is what the contract carries, and a misspelt field is an error and no silence."""

from typing import Any, cast, get_type_hints
from uuid import uuid4

import pytest

from models.contracts.fleet.instances import InstanceInput, Projection
from workflows.fleet.instances.changes import Change
from workflows.fleet.instances.owner import InstanceOwner
from workflows.lib.changes import refuse_unknown

OF_THE_OWNER = {"key", "projection_id", "expected_version", "waiting", "keeps_waiting", "held"}
"""Fields that the owner fills by itself, or from a parameter of their own."""


def test_a_change_has_the_fields_and_types_of_a_projection() -> None:
    carried = {name: field.annotation for name, field in Projection.model_fields.items() if name not in OF_THE_OWNER}
    assert get_type_hints(Change) == carried


@pytest.mark.parametrize("field", ["stauts", "operation", "cleared_error", "projection_id", "expected_version"])
def test_a_field_that_no_change_has_is_refused(field: str) -> None:
    with pytest.raises(TypeError, match=field):
        refuse_unknown(cast("Change", {"reason": "known", field: None}), Change)


async def test_an_owner_refuses_before_anything_is_sent() -> None:
    owner = InstanceOwner(InstanceInput(instance_id=uuid4(), organization_id=uuid4()))
    misspelt: Any = {"deleted_by_providers": True}
    with pytest.raises(TypeError, match="deleted_by_providers"):
        await owner.project(**misspelt)


def test_a_projection_of_a_newer_worker_is_read() -> None:
    sent = {"key": {"instance_id": str(uuid4()), "organization_id": str(uuid4())}, "projection_id": str(uuid4()),
            "expected_version": 1, "of_a_later_version": True}  # fmt: skip
    assert Projection.model_validate(sent).expected_version == 1
