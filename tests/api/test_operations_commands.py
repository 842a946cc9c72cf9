"""Giving an operation up (DESIGN 3)."""

from __future__ import annotations

import asyncio

import pytest

from models.base.clock import utc_now
from models.base.ids import new_id
from models.domain.fleet.instances.state import DesiredStatus, InstanceStatus
from models.domain.fleet.operations import OperationKind
from models.domain.identity.roles import Role
from models.domain.operations import OPEN, OperationStatus
from models.tables.fleet.instances import Instance
from models.tables.operations import Operation, OutboxRow
from tests.api.conftest import Person
from tests.factories.seeded import SeededApi

K, O, S = OperationKind, OperationStatus, InstanceStatus
OVER = [status for status in O if status not in OPEN]


async def test_an_order_that_nobody_began_is_cancelled_at_once(seeded: SeededApi, person: Person):
    ordered = await seeded.deploy(person, model_id="mock-echo-model")
    response = await seeded.call("POST", f"/operations/{ordered['operation']['id']}/cancel", person, 200)
    body = response.json()
    assert (body["id"], body["kind"], body["status"]) == (
        ordered["operation"]["id"], "instance.provision", "cancelled",
    )  # fmt: skip
    assert body["completed_at"] is not None
    assert body["cancel_requested_at"] is not None
    assert body["waiting_on"] is None
    seen = (await seeded.call("GET", f"/instances/{ordered['instance_id']}", person, 200)).json()
    assert (seen["status"], seen["deletion_reason"]) == ("terminated", "no_provider_resource")


async def test_an_order_that_may_have_made_a_machine_is_compensated(seeded: SeededApi, person: Person):
    row = seeded.rows.instance(person.organization_id, S.PROVISIONING, create_attempted_at=utc_now())
    provision = seeded.rows.operation(row, status=O.RUNNING)
    response = await seeded.call("POST", f"/operations/{provision.id}/cancel", person, 202)
    assert response.headers["location"] == f"/operations/{provision.id}"
    assert response.json()["cancel_requested_at"] is not None
    assert seeded.rows.one(Instance, id=row.id).desired_status is DesiredStatus.TERMINATED
    kinds = {operation.kind: operation for operation in seeded.rows.all(Operation, resource_id=row.id)}
    assert set(kinds) == {K.INSTANCE_PROVISION, K.INSTANCE_TERMINATE}
    message = seeded.rows.one(OutboxRow, workflow_id=f"instance/{row.id}")
    assert message.payload["operation_id"] == str(kinds[K.INSTANCE_TERMINATE].id)


async def test_a_reinstall_that_nobody_began_is_cancelled_and_the_instance_stays(seeded: SeededApi, person: Person):
    row = seeded.rows.machine(person.organization_id)
    asked = (await seeded.call("POST", f"/instances/{row.id}/reinstall", person, 202)).json()["operation"]
    body = (await seeded.call("POST", f"/operations/{asked['id']}/cancel", person, 200)).json()
    assert (body["status"], body["waiting_on"]) == ("cancelled", None)
    kept = seeded.rows.one(Instance, id=row.id)
    assert (kept.status, kept.desired_status) == (S.READY, DesiredStatus.READY)


@pytest.mark.parametrize(
    ("kind", "status"),
    [(K.INSTANCE_TERMINATE, O.PENDING), (K.INSTANCE_TERMINATE, O.RUNNING), (K.INSTANCE_REINSTALL, O.RUNNING)],
)
async def test_what_cannot_be_taken_back_is_409(
    seeded: SeededApi, person: Person, kind: OperationKind, status: OperationStatus
):
    row = seeded.rows.machine(person.organization_id)
    operation = seeded.rows.operation(row, kind, status)
    refused = (await seeded.call("POST", f"/operations/{operation.id}/cancel", person, 409)).json()
    assert refused["code"] == "OPERATION_NOT_CANCELLABLE"
    kept = seeded.rows.one(Operation, id=operation.id)
    assert (kept.status, kept.cancel_requested_at) == (status, None)


@pytest.mark.parametrize("kind", list(K))
@pytest.mark.parametrize("status", OVER)
async def test_what_is_over_is_409_and_says_how_it_ended(
    seeded: SeededApi, person: Person, kind: OperationKind, status: OperationStatus
):
    row = seeded.rows.machine(person.organization_id)
    operation = seeded.rows.operation(row, kind, status, completed_at=utc_now())
    refused = (await seeded.call("POST", f"/operations/{operation.id}/cancel", person, 409)).json()
    assert refused["code"] == "OPERATION_FINISHED"
    assert status.value in refused["detail"]
    assert seeded.rows.one(Instance, id=row.id).desired_status is DesiredStatus.READY


async def test_cancelling_twice_takes_effect_once(seeded: SeededApi, person: Person):
    await seeded.introduce(person)
    row = seeded.rows.instance(person.organization_id, S.PROVISIONING, create_attempted_at=utc_now())
    provision = seeded.rows.operation(row, status=O.RUNNING)
    answers = await asyncio.gather(
        *(seeded.call("POST", f"/operations/{provision.id}/cancel", person) for _ in range(10))
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len(seeded.rows.all(Operation, resource_id=row.id, kind=K.INSTANCE_TERMINATE)) == 1


async def test_a_keyed_cancel_repeats_its_answer(seeded: SeededApi, person: Person):
    ordered = await seeded.deploy(person, model_id="mock-echo-model")
    path, key = f"/operations/{ordered['operation']['id']}/cancel", {"idempotency-key": "k"}
    first = await seeded.call("POST", path, person, 200, headers=key)
    again = await seeded.call("POST", path, person, 200, headers=key)
    assert again.json() == first.json()
    await seeded.call("POST", path, person, 409)


@pytest.mark.parametrize("verb", ["cancel", "approve", "reject"])
async def test_unknown_and_foreign_operations_do_not_exist(seeded: SeededApi, person: Person, verb: str):
    stranger = seeded.people.person()
    foreign = seeded.rows.operation(seeded.rows.instance(stranger.organization_id, S.PROVISIONING))
    for operation_id in (foreign.id, new_id()):
        refused = (await seeded.call("POST", f"/operations/{operation_id}/{verb}", person, 404)).json()
        assert refused["code"] == "OPERATION_NOT_FOUND"
    assert seeded.rows.one(Operation, id=foreign.id).status is O.PENDING


@pytest.mark.parametrize("role", list(Role))
async def test_owner_and_admin_give_up_and_others_may_not(seeded: SeededApi, role: Role):
    person = seeded.people.person(role)
    operation = seeded.rows.operation(seeded.rows.instance(person.organization_id, S.PROVISIONING))
    response = await seeded.call("POST", f"/operations/{operation.id}/cancel", person)
    if role in {Role.OWNER, Role.ADMIN}:
        assert response.status_code in {200, 409}
        return
    assert (response.status_code, response.json()["code"]) == (403, "PERMISSION_DENIED")
    assert seeded.rows.one(Operation, id=operation.id).status is O.PENDING
