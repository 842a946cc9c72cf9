"""What people are asked and decide: who may, once, in time, and what the owner hears (contract decision 33)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from models.base.clock import utc_now
from models.base.ids import new_id
from models.domain.approvals import ApprovalStatus
from models.domain.fleet.operations import OperationKind
from models.domain.identity.roles import Role
from models.domain.operations import OperationStatus
from models.tables.activity import ActionLog, Event
from models.tables.approvals import Approval
from models.tables.operations import IdempotencyKey, Operation, OutboxRow
from tests.api.conftest import Person
from tests.factories.approvals import approval
from tests.factories.seeded import SeededApi

WAITING = OperationStatus.WAITING_APPROVAL
VERBS = {"approve": ApprovalStatus.APPROVED, "reject": ApprovalStatus.REJECTED}


def asked(seeded: SeededApi, person: Person, **columns: Any) -> Approval:
    """An operation of the person's organization that waits for an approval."""
    machine = seeded.rows.machine(person.organization_id)
    operation = seeded.rows.operation(machine, OperationKind.INSTANCE_TERMINATE, WAITING)
    row = approval(operation, **columns)
    seeded.rows.add(row)
    return row


def colleague_of(seeded: SeededApi, person: Person) -> Person:
    return seeded.people.person(Role.ADMIN, organization_id=person.organization_id)


def paths(row: Approval, verb: str) -> list[str]:
    return [f"/operations/{row.operation_id}/{verb}", f"/approvals/{row.id}/{verb}"]


@pytest.mark.parametrize("by", [0, 1], ids=["by its operation", "by its own id"])
@pytest.mark.parametrize(("verb", "status"), VERBS.items())
async def test_a_decision_is_on_the_row_and_its_owner_is_told(
    seeded: SeededApi, person: Person, verb: str, status: ApprovalStatus, by: int
) -> None:
    row = asked(seeded, person)
    answer = await seeded.call("POST", paths(row, verb)[by], person, json={"comment": "as agreed"})
    assert answer.status_code == (202, 200)[by], answer.text
    assert answer.json()["status"] == ("running", status.value)[by]
    kept = seeded.rows.one(Approval, id=row.id)
    assert (kept.status, kept.decided_by, kept.decided_by_user_id, kept.decided_by_api_key_id, kept.comment) == (
        status, "person", person.user_id, person.api_key_id, "as agreed",
    )  # fmt: skip
    assert kept.decided_at is not None
    assert seeded.rows.one(Operation, id=row.operation_id).status is OperationStatus.RUNNING
    message = seeded.rows.one(OutboxRow, resource_id=row.resource_id)
    assert (message.kind, message.workflow_id) == ("command", f"instance/{row.resource_id}")
    assert message.payload == {"instance_id": str(row.resource_id), "operation_id": str(row.operation_id)}
    log = seeded.rows.one(ActionLog, operation_id=row.operation_id)
    assert (log.action_type, log.user_id, log.details["approval_id"]) == (verb.upper(), person.user_id, str(row.id))
    told = [event.kind for event in seeded.rows.all(Event, organization_id=person.organization_id)]
    assert {"operation.updated", "instance.updated", "action_log.created", "approval.updated"} <= set(told)


async def test_it_is_listed_and_read_with_all_that_is_asked(seeded: SeededApi, person: Person) -> None:
    row = asked(seeded, person, cost_eur="12.5")
    other = asked(seeded, person, status=ApprovalStatus.WITHDRAWN)
    body = (await seeded.call("GET", f"/approvals/{row.id}", person, 200)).json()
    assert (body["code"], body["params"], body["cost_eur"], body["permission"], body["on_deadline"]) == (
        "BREAK_TOY", {"size": 3}, 12.5, "instances:write", "reject",
    )  # fmt: skip
    pending = (await seeded.call("GET", "/approvals?status=pending", person, 200)).json()
    assert pending == {"rows": [body], "next_cursor": None}
    first = (await seeded.call("GET", "/approvals?limit=1", person, 200)).json()
    rest = (await seeded.call("GET", f"/approvals?limit=1&cursor={first['next_cursor']}", person, 200)).json()
    assert {one["id"] for one in first["rows"] + rest["rows"]} == {str(row.id), str(other.id)}


async def test_an_operation_says_what_it_waits_for_and_what_can_be_done(seeded: SeededApi, person: Person) -> None:
    row = asked(seeded, person)
    operation = seeded.rows.one(Operation, id=row.operation_id)
    params = {"question": "BREAK_TOY", "permission": "instances:write", "size": 3}
    seeded.rows.change(operation, waiting_on="DECISION", waiting_params=params, waiting_until=row.until)
    waits = (await seeded.call("GET", f"/operations/{row.operation_id}", person, 200)).json()["waiting_on"]
    assert (waits["code"], waits["params"], waits["who"]) == ("DECISION", params, "person")
    assert [action["name"] for action in waits["actions"]] == ["approve", "reject"]
    for action in waits["actions"][:1]:
        await seeded.call(action["method"], action["path"], person, 202)
    waits = (await seeded.call("GET", f"/operations/{row.operation_id}", person, 200)).json()["waiting_on"]
    assert (waits["code"], waits["params"], waits["until"], waits["actions"]) == ("OWNER", {}, None, [])


async def test_the_same_decision_again_answers_the_same_and_tells_nobody(seeded: SeededApi, person: Person) -> None:
    row = asked(seeded, person)
    first = await seeded.call("POST", f"/operations/{row.operation_id}/approve", person, 202)
    again = await seeded.call("POST", f"/operations/{row.operation_id}/approve", person, 202)
    assert again.json() == first.json()
    assert len(seeded.rows.all(OutboxRow, resource_id=row.resource_id)) == 1


@pytest.mark.parametrize("by", [0, 1])
async def test_another_decision_and_another_person_are_409(seeded: SeededApi, person: Person, by: int) -> None:
    row = asked(seeded, person)
    colleague = colleague_of(seeded, person)
    await seeded.call("POST", paths(row, "approve")[by], person)
    for who, verb in [(person, "reject"), (colleague, "approve"), (colleague, "reject")]:
        refused = (await seeded.call("POST", paths(row, verb)[by], who, 409)).json()
        assert refused["code"] == "APPROVAL_CLOSED"
    assert seeded.rows.one(Approval, id=row.id).decided_by_user_id == person.user_id


async def test_of_many_at_once_one_decides(seeded: SeededApi, person: Person) -> None:
    row = asked(seeded, person)
    people = [person, *(colleague_of(seeded, person) for _ in range(4))]
    for one in people:
        await seeded.introduce(one)
    calls = [seeded.call("POST", f"/approvals/{row.id}/{verb}", one) for one in people for verb in VERBS]
    statuses = [answer.status_code for answer in await asyncio.gather(*calls)]
    assert sorted(statuses) == [200] + [409] * 9
    assert len(seeded.rows.all(OutboxRow, resource_id=row.resource_id)) == 1


async def test_ones_own_request_is_approved_by_another_person(seeded: SeededApi, person: Person) -> None:
    row = asked(seeded, person, asked_for_user_id=person.user_id)
    refused = (await seeded.call("POST", f"/approvals/{row.id}/approve", person, 409)).json()
    assert refused["code"] == "APPROVAL_OF_ONES_OWN"
    assert seeded.rows.one(Approval, id=row.id).status is ApprovalStatus.PENDING
    await seeded.call("POST", f"/approvals/{row.id}/approve", colleague_of(seeded, person), 200)


async def test_ones_own_request_may_be_rejected_or_confirmed_where_that_is_asked(
    seeded: SeededApi, person: Person
) -> None:
    own = {"asked_for_user_id": person.user_id}
    await seeded.call("POST", f"/approvals/{asked(seeded, person, **own).id}/reject", person, 200)
    confirmed = asked(seeded, person, **own, asker_may_approve=True)
    await seeded.call("POST", f"/approvals/{confirmed.id}/approve", person, 200)


async def test_after_the_deadline_nobody_decides_whatever_the_owner_has_seen(seeded: SeededApi, person: Person) -> None:
    row = asked(seeded, person, until=utc_now() - timedelta(seconds=1))
    for verb in VERBS:
        refused = (await seeded.call("POST", f"/approvals/{row.id}/{verb}", person, 409)).json()
        assert refused["code"] == "APPROVAL_EXPIRED"
    assert seeded.rows.one(Operation, id=row.operation_id).status is WAITING


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("permission", ["operations:read", "approvals:decide", "instances:write", "of:nobody"])
async def test_whoever_decides_needs_what_the_approval_says(seeded: SeededApi, role: Role, permission: str) -> None:
    person = seeded.people.person(role)
    row = asked(seeded, person, permission=permission)
    allowed = {
        "operations:read": set(Role) - {Role.VIEWER},
        "approvals:decide": set(Role) - {Role.VIEWER},
        "instances:write": {Role.OWNER, Role.ADMIN},
        "of:nobody": set(),
    }[permission]
    answer = await seeded.call("POST", f"/operations/{row.operation_id}/approve", person)
    assert answer.status_code == (202 if role in allowed else 403), answer.text
    decided = ApprovalStatus.APPROVED if role in allowed else ApprovalStatus.PENDING
    assert seeded.rows.one(Approval, id=row.id).status is decided


@pytest.mark.parametrize("verb", VERBS)
async def test_unknown_and_foreign_approvals_do_not_exist(seeded: SeededApi, person: Person, verb: str) -> None:
    foreign = asked(seeded, seeded.people.person())
    for approval_id in (foreign.id, new_id()):
        refused = (await seeded.call("POST", f"/approvals/{approval_id}/{verb}", person, 404)).json()
        assert refused["code"] == "APPROVAL_NOT_FOUND"
    assert seeded.rows.one(Approval, id=foreign.id).status is ApprovalStatus.PENDING


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("status", [status for status in OperationStatus if status is not WAITING])
async def test_an_operation_that_asked_for_nothing_waits_for_no_approval(
    seeded: SeededApi, person: Person, status: OperationStatus, verb: str
) -> None:
    operation = seeded.rows.operation(seeded.rows.machine(person.organization_id), status=status)
    refused = (await seeded.call("POST", f"/operations/{operation.id}/{verb}", person, 409)).json()
    assert refused["code"] == "OPERATION_NOT_AWAITING_APPROVAL"
    assert status.value in refused["detail"]


async def test_an_operation_with_several_questions_goes_on_after_the_last(seeded: SeededApi, person: Person) -> None:
    first = asked(seeded, person)
    operation = seeded.rows.one(Operation, id=first.operation_id)
    second = approval(operation, code="PAY_FOR_TOY")
    seeded.rows.add(second)
    refused = (await seeded.call("POST", f"/operations/{operation.id}/approve", person, 409)).json()
    assert refused["code"] == "SEVERAL_APPROVALS"
    assert set(refused["details"]["approvals"]) == {str(first.id), str(second.id)}
    await seeded.call("POST", f"/approvals/{first.id}/approve", person, 200)
    assert seeded.rows.one(Operation, id=operation.id).status is WAITING
    named = {"approval_id": str(second.id)}
    await seeded.call("POST", f"/operations/{operation.id}/reject", person, 202, json=named)
    assert seeded.rows.one(Operation, id=operation.id).status is OperationStatus.RUNNING
    assert seeded.rows.one(Approval, id=second.id).status is ApprovalStatus.REJECTED


@pytest.mark.parametrize("verb", VERBS)
async def test_a_question_that_came_after_the_one_that_was_read_is_not_decided(
    seeded: SeededApi, person: Person, verb: str
) -> None:
    """Whoever decides by the operation's id has seen the first, which was decided meanwhile."""
    first = asked(seeded, person, status=ApprovalStatus.APPROVED)
    operation = seeded.rows.one(Operation, id=first.operation_id)
    second = approval(operation, code="PAY_FOR_TOY", cost_eur="5000")
    seeded.rows.add(second)
    path = f"/operations/{operation.id}/{verb}"
    assert (await seeded.call("POST", path, person, 409)).json()["code"] == "SEVERAL_APPROVALS"
    first_named = {"approval_id": str(first.id)}
    assert (await seeded.call("POST", path, person, 409, json=first_named)).json()["code"] == "APPROVAL_CLOSED"
    assert seeded.rows.one(Approval, id=second.id).status is ApprovalStatus.PENDING
    await seeded.call("POST", path, person, 202, json={"approval_id": str(second.id)})
    assert seeded.rows.one(Approval, id=second.id).status is VERBS[verb]


async def test_an_approval_of_another_operation_is_not_decided_by_this_one(seeded: SeededApi, person: Person) -> None:
    row, other = asked(seeded, person), asked(seeded, person)
    body = {"approval_id": str(other.id)}
    refused = (await seeded.call("POST", f"/operations/{row.operation_id}/approve", person, 404, json=body)).json()
    assert refused["code"] == "APPROVAL_NOT_FOUND"
    assert seeded.rows.one(Approval, id=other.id).status is ApprovalStatus.PENDING


async def test_giving_up_what_a_person_is_asked_cancels_that_and_asks_nothing_else(
    seeded: SeededApi, person: Person
) -> None:
    """Whatever the family does about what has begun: of a termination its handler would refuse."""
    row = asked(seeded, person)
    body = (await seeded.call("POST", f"/operations/{row.operation_id}/cancel", person, 200)).json()
    assert (body["status"], body["waiting_on"]) == ("cancelled", None)
    assert body["cancel_requested_at"] == body["completed_at"] is not None
    assert seeded.rows.one(Approval, id=row.id).status is ApprovalStatus.WITHDRAWN
    message = seeded.rows.one(OutboxRow, resource_id=row.resource_id)
    assert message.payload == {"instance_id": str(row.resource_id), "operation_id": str(row.operation_id)}
    assert [one.id for one in seeded.rows.all(Operation, resource_id=row.resource_id)] == [row.operation_id]
    told = seeded.rows.all(Event, organization_id=person.organization_id)
    assert [one.data["ids"] for one in told if one.kind == "approval.updated"] == [[str(row.id)]]
    assert f"operation/{row.operation_id}" in [one.stream for one in told]
    assert seeded.rows.one(ActionLog, operation_id=row.operation_id).action_type == "CANCEL"
    refused = (await seeded.call("POST", f"/operations/{row.operation_id}/cancel", person, 409)).json()
    assert refused["code"] == "OPERATION_FINISHED"


async def test_a_decision_and_a_cancel_at_once_are_one_of_both(seeded: SeededApi, person: Person) -> None:
    row = asked(seeded, person)
    await seeded.introduce(person)
    calls = [seeded.call("POST", f"/operations/{row.operation_id}/{verb}", person) for verb in ("approve", "cancel")]
    approved, cancelled = await asyncio.gather(*calls)
    assert sorted([approved.status_code // 100, cancelled.status_code // 100]) == [2, 4]
    kept = seeded.rows.one(Operation, id=row.operation_id).status
    assert kept is (OperationStatus.RUNNING if approved.is_success else OperationStatus.CANCELLED)


async def test_what_is_asked_for_an_operation_that_ends_is_withdrawn(seeded: SeededApi, person: Person) -> None:
    row = asked(seeded, person)
    seeded.people.execute(
        "UPDATE operations SET status = 'cancelled', completed_at = now() WHERE id = %s RETURNING id", row.operation_id
    )
    assert seeded.rows.one(Approval, id=row.id).status is ApprovalStatus.WITHDRAWN
    refused = (await seeded.call("POST", f"/operations/{row.operation_id}/approve", person, 409)).json()
    assert refused["code"] == "APPROVAL_CLOSED"


async def test_a_keyed_decision_repeats_its_answer(seeded: SeededApi, person: Person) -> None:
    row = asked(seeded, person)
    key = {"idempotency-key": "k"}
    first = await seeded.call("POST", f"/operations/{row.operation_id}/reject", person, 202, headers=key)
    again = await seeded.call("POST", f"/operations/{row.operation_id}/reject", person, 202, headers=key)
    assert again.json() == first.json()


async def test_the_words_of_who_decided_are_in_the_row_alone(seeded: SeededApi, person: Person) -> None:
    row = asked(seeded, person)
    path, key, body = f"/approvals/{row.id}/approve", {"idempotency-key": "k"}, {"comment": "as agreed"}
    first = (await seeded.call("POST", path, person, 200, headers=key, json=body)).json()
    again = (await seeded.call("POST", path, person, 200, headers=key, json=body)).json()
    assert (first["comment"], again) == ("as agreed", {**first, "comment": None})
    assert seeded.rows.one(Approval, id=row.id).comment == "as agreed"
    assert seeded.rows.one(IdempotencyKey, route=f"POST {path}").body["comment"] is None
