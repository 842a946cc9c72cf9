"""Operations on what is no instance: read where its kind says, given up by whoever its kind names, and by nobody else."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.clock import utc_now
from models.contracts.fleet.owner_kinds import INSTANCE
from models.contracts.outbox import OutboxMessage
from models.contracts.owner_kinds import OwnerKind
from models.domain.fleet.instances.state import DesiredStatus, InstanceStatus
from models.domain.identity.principal import Principal
from models.domain.operations import OperationStatus
from models.repositories import operations
from models.tables.fleet.instances import Instance
from models.tables.operations import Operation
from tests.api.conftest import Person
from tests.factories.gadgets import BOTH, GADGET
from tests.factories.seeded import SeededApi


@dataclass(frozen=True)
class Dismantled:
    message: OutboxMessage | None = None


@pytest.fixture
def dismantled(seeded: SeededApi, monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """The API knows gadgets too; the operations that their handler gave up."""
    given_up: list[UUID] = []

    async def dismantle(session: AsyncSession, _principal: Principal, operation_id: UUID) -> Dismantled:
        operation = await operations.get(session, operation_id, lock=True)
        operation.status, operation.completed_at = OperationStatus.CANCELLED, utc_now()
        session.add(operation)
        given_up.append(operation_id)
        return Dismantled()

    state = seeded.api.state
    monkeypatch.setattr(state, "owner_kinds", BOTH)
    monkeypatch.setattr(state, "cancel_handlers", {**state.cancel_handlers, GADGET.resource_kind: dismantle})
    return given_up


def an_instance(seeded: SeededApi, person: Person) -> Instance:
    """One whose order can be given up."""
    return seeded.rows.instance(person.organization_id, InstanceStatus.PROVISIONING, create_attempted_at=utc_now())


def building(seeded: SeededApi, like: Instance, resource_kind: str) -> Operation:
    """An operation on a resource that has the id of the instance."""
    return seeded.rows.operation(like, resource_kind=resource_kind, workflow_id=f"{resource_kind}/{like.id}")


async def test_it_is_given_up_by_the_handler_of_its_kind(
    seeded: SeededApi, person: Person, dismantled: list[UUID]
) -> None:
    instance = an_instance(seeded, person)
    operation = building(seeded, instance, "gadget")
    body = (await seeded.call("POST", f"/operations/{operation.id}/cancel", person, 200)).json()
    assert (body["status"], dismantled) == ("cancelled", [operation.id])
    assert seeded.rows.one(Instance, id=instance.id).desired_status is DesiredStatus.READY


async def test_an_instances_is_still_its_own(seeded: SeededApi, person: Person, dismantled: list[UUID]) -> None:
    instance = an_instance(seeded, person)
    operation = building(seeded, instance, "instance")
    await seeded.call("POST", f"/operations/{operation.id}/cancel", person, 202)
    assert dismantled == []
    assert seeded.rows.one(Instance, id=instance.id).desired_status is DesiredStatus.TERMINATED


async def test_of_a_kind_without_a_handler_none_can_be_taken_back(
    seeded: SeededApi, person: Person, dismantled: list[UUID]
) -> None:
    instance = an_instance(seeded, person)
    operation = building(seeded, instance, "relic")
    refused = (await seeded.call("POST", f"/operations/{operation.id}/cancel", person, 409)).json()
    assert (refused["code"], dismantled) == ("OPERATION_NOT_CANCELLABLE", [])
    assert seeded.rows.one(Instance, id=instance.id).desired_status is DesiredStatus.READY


@pytest.mark.parametrize("kind", [INSTANCE, GADGET], ids=["instance", "gadget"])
@pytest.mark.usefixtures("dismantled")
async def test_its_resource_is_where_the_kind_says(seeded: SeededApi, person: Person, kind: OwnerKind) -> None:
    instance = an_instance(seeded, person)
    operation = building(seeded, instance, kind.resource_kind)
    body = (await seeded.call("GET", f"/operations/{operation.id}", person, 200)).json()
    assert body["resource"] == {
        "kind": kind.resource_kind, "id": str(instance.id), "url": kind.path_of(instance.id),
    }  # fmt: skip


@pytest.mark.usefixtures("dismantled")
async def test_one_of_a_kind_that_this_process_does_not_know_is_read_all_the_same(
    seeded: SeededApi, person: Person
) -> None:
    operation = building(seeded, an_instance(seeded, person), "relic")
    body = (await seeded.call("GET", f"/operations/{operation.id}", person, 200)).json()
    assert (body["resource"]["kind"], body["resource"]["url"]) == ("relic", None)
