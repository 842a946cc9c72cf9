"""Approvals as an owner's transactions write them, beside the commands and decisions of others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from models.base.clock import utc_now
from models.base.errors import AppError
from models.contracts.approvals import Question
from models.contracts.fleet.owner_kinds import INSTANCE
from models.contracts.operations import ActionNote
from models.contracts.owner_kinds import OwnerKinds
from models.domain.approvals import ApprovalStatus, DecidedBy, Verdict
from models.domain.identity.principal import Principal
from models.domain.operations import OperationStatus
from models.repositories import approval_decisions, approvals, operations
from models.repositories.approval_decisions import Decision
from models.repositories.database import Database
from models.tables.approvals import Approval
from models.tables.operations import Operation
from tests.factories.approvals import approval
from tests.factories.founded import founded
from tests.factories.rows import Rows
from tests.servers import TestDatabase

A, O = ApprovalStatus, OperationStatus
KINDS = OwnerKinds([INSTANCE])


@dataclass(frozen=True)
class World:
    principal: Principal
    rows: Rows
    worker: Database
    api: Database
    operation: Operation

    async def ask(self, *questions: Question) -> list[ActionNote]:
        async with self.worker.tenant(self.principal.organization_id) as session:
            return await approvals.ask(
                session, INSTANCE, self.operation.resource_id, self.principal.organization_id, questions
            )

    async def settle(self) -> list[ActionNote]:
        async with self.worker.tenant(self.principal.organization_id) as session:
            return await approvals.settle_due(session, self.operation.resource_id)

    async def decide(self, row: Approval, verdict: Verdict = Verdict.APPROVE) -> None:
        async with self.api.tenant(self.principal.organization_id, self.principal.user_id) as session:
            await approval_decisions.decide(session, self.principal, KINDS, row.id, Decision(verdict))

    def question(self, **more: Any) -> Question:
        defaults: dict[str, Any] = {
            "code": "BREAK_TOY", "operation_id": self.operation.id, "permission": "instances:write", "open_for_s": 60,
        }  # fmt: skip
        return Question(**{**defaults, **more})

    def asked(self, **columns: Any) -> Approval:
        row = approval(self.operation, asker_may_approve=True, **columns)
        self.rows.add(row)
        self.rows.change(self.operation, status=O.WAITING_APPROVAL)
        return row

    def status(self) -> OperationStatus:
        return self.rows.one(Operation, id=self.operation.id).status


@pytest.fixture
async def world(database: TestDatabase) -> AsyncIterator[World]:
    principal = await founded(database)
    rows, worker, api = Rows(database), Database(database.worker, pool_size=2), Database(database.api, pool_size=2)
    machine = rows.machine(principal.organization_id)
    operation = rows.operation(machine, requested_by_user_id=principal.user_id)
    try:
        yield World(principal, rows, worker, api, operation)
    finally:
        await worker.close()
        await api.close()
        rows.close()


async def test_what_is_asked_is_on_a_row_and_the_operation_waits_for_it(world: World) -> None:
    question = world.question(params={"size": 3}, cost_eur="12.5", on_deadline=Verdict.APPROVE)
    [note] = await world.ask(question)
    row = world.rows.one(Approval)
    assert (note.action_type, note.details["approval_id"]) == ("APPROVAL_ASKED", str(row.id))
    assert (row.status, row.code, row.params, row.cost_eur, row.on_deadline, row.asked_for_user_id) == (
        A.PENDING, "BREAK_TOY", {"size": 3}, question.cost_eur, Verdict.APPROVE, world.principal.user_id,
    )  # fmt: skip
    assert row.until == row.asked_at + timedelta(seconds=60)
    operation = world.rows.one(Operation, id=world.operation.id)
    assert (operation.status, operation.waiting_until) == (O.WAITING_APPROVAL, row.until)
    assert operation.started_at is not None
    assert (operation.waiting_on, operation.waiting_params) == (
        "DECISION", {"question": "BREAK_TOY", "permission": "instances:write", "size": 3, "cost_eur": "12.5"},
    )  # fmt: skip


async def test_it_is_asked_once_by_whichever_owner(world: World) -> None:
    await world.ask(world.question())
    assert await world.ask(world.question(open_for_s=600)) == []
    await world.decide(world.rows.one(Approval), Verdict.REJECT)
    assert await world.ask(world.question()) == []
    assert (world.rows.one(Approval).status, world.status()) == (A.REJECTED, O.RUNNING)


async def test_what_belongs_to_no_operation_is_asked_once_too(world: World) -> None:
    for _ in range(2):
        await world.ask(world.question(operation_id=None))
    row = world.rows.one(Approval)
    assert (row.operation_id, world.status()) == (None, O.PENDING)
    async with world.worker.tenant(world.principal.organization_id) as session:
        [seen] = await approvals.seen_on(session, row.resource_id, [])
    assert (seen.id, seen.status) == (row.id, A.PENDING)


async def test_what_is_asked_for_an_open_operation_is_seen_however_much_is_asked_after_it(world: World) -> None:
    await world.ask(world.question())
    later = [world.question(code=f"Q{number}", operation_id=None) for number in range(approvals.MOST_SEEN + 1)]
    await world.ask(*later)
    async with world.worker.tenant(world.principal.organization_id) as session:
        still_open = await operations.open_on(session, world.operation.resource_id)
        seen = await approvals.seen_on(session, world.operation.resource_id, still_open)
    assert [one.code for one in seen if one.operation_id] == ["BREAK_TOY"]
    assert len(seen) == approvals.MOST_SEEN + 1


async def test_nothing_is_asked_for_an_operation_that_is_over(world: World) -> None:
    world.rows.change(world.operation, status=O.CANCELLED)
    assert await world.ask(world.question()) == []
    assert world.rows.all(Approval) == []


@pytest.mark.parametrize(("on_deadline", "status"), [(Verdict.REJECT, A.REJECTED), (Verdict.APPROVE, A.APPROVED)])
async def test_what_nobody_decided_in_time_is_decided_as_its_row_says(
    world: World, on_deadline: Verdict, status: ApprovalStatus
) -> None:
    row = world.asked(until=utc_now() - timedelta(seconds=1), on_deadline=on_deadline)
    [note] = await world.settle()
    assert (note.action_type, note.details["status"]) == ("APPROVAL_EXPIRED", status.value)
    kept = world.rows.one(Approval, id=row.id)
    assert (kept.status, kept.decided_by, kept.decided_by_user_id) == (status, DecidedBy.DEADLINE, None)
    assert world.status() is O.RUNNING
    assert await world.settle() == [], "once"


async def test_before_the_deadline_nothing_is_settled(world: World) -> None:
    row = world.asked()
    assert await world.settle() == []
    assert (world.rows.one(Approval, id=row.id).status, world.status()) == (A.PENDING, O.WAITING_APPROVAL)


async def test_a_person_and_the_deadline_at_once_decide_it_once(world: World, database: TestDatabase) -> None:
    """Both wait for the operation; whoever gets it second finds that it is decided, or that it is too late."""
    row = world.asked(until=utc_now() + timedelta(seconds=0.3))
    async with await psycopg.AsyncConnection.connect(database.admin) as other:
        await other.execute("SELECT 1 FROM operations FOR UPDATE")
        person = asyncio.ensure_future(world.decide(row))
        await asyncio.sleep(0.5)
        deadline = asyncio.ensure_future(world.settle())
        await asyncio.sleep(0.2)
        await other.commit()
    answers: list[object] = [*await asyncio.gather(person, deadline, return_exceptions=True)]
    kept = world.rows.one(Approval, id=row.id)
    if kept.decided_by is DecidedBy.PERSON:
        assert answers == [None, []]
    else:
        assert isinstance(answers[0], AppError)
        assert answers[0].code in {"APPROVAL_CLOSED", "APPROVAL_EXPIRED"}
    assert world.status() is O.RUNNING


@pytest.mark.parametrize("status", [O.CANCELLED, O.FAILED, O.RUNNING])
async def test_what_the_owner_goes_on_without_is_withdrawn(world: World, status: OperationStatus) -> None:
    """By an owner, in its own transaction and with its own rights."""
    row = world.asked()
    async with world.worker.tenant(world.principal.organization_id) as session:
        operation = await operations.get(session, world.operation.id, lock=True)
        operation.status = status
    assert world.rows.one(Approval, id=row.id).status is A.WITHDRAWN
