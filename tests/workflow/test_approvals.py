"""An owner that asks a person: whatever happens at whichever point, what the row says was decided is what it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from temporalio.testing import WorkflowEnvironment

from models.contracts.operations import OpenOperation
from models.domain.approvals import ApprovalStatus
from models.domain.operations import OperationStatus
from tests.patience import GIVE_UP_S
from tests.workflow.details import current_details
from tests.workflow.lamps import OPEN_FOR_S, PUT_OUT, Lamp, Phase, lamp_workers
from workflows import options

DAY_S = 24 * 3600.0


@pytest.fixture
async def lamp(environment: WorkflowEnvironment) -> AsyncIterator[Lamp]:
    """A precious one, which burns."""
    async with lamp_workers(environment.client) as activities:
        activities.now = environment.get_current_time
        lamp = Lamp(environment.client, activities)
        activities.change(lamp.id, is_precious=True)
        await lamp.order()
        await lamp.until(lambda row: row.status is Phase.BURNING)
        yield lamp


async def asked(lamp: Lamp) -> None:
    await lamp.command()
    await lamp.until(lambda row: [one.status for one in row.approvals] == [ApprovalStatus.PENDING])


def questions(lamp: Lamp) -> int:
    return sum(len(one.questions) for one in lamp.activities.projections)


async def until_moved(lamp: Lamp, status: OperationStatus) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while not lamp.activities.moved:
            await asyncio.sleep(0.01)
    assert list(lamp.activities.moved.values()) == [status]


async def test_it_is_put_out_when_a_person_says_so_and_not_before(lamp: Lamp) -> None:
    await asked(lamp)
    await lamp.wake_and_read()
    assert (lamp.row.status, lamp.activities.moved) == (Phase.BURNING, {})
    assert "waiting for a person to decide" in await current_details(lamp.handle)
    await lamp.decide(ApprovalStatus.APPROVED)
    await until_moved(lamp, OperationStatus.SUCCEEDED)
    assert (lamp.row.status, questions(lamp)) == (Phase.OUT, 1)


async def test_what_is_rejected_is_cancelled_and_says_why(lamp: Lamp) -> None:
    await asked(lamp)
    await lamp.decide(ApprovalStatus.REJECTED)
    await until_moved(lamp, OperationStatus.CANCELLED)
    assert lamp.row.status is Phase.BURNING
    assert lamp.activities.projections[-1].operations[0].error_code == "APPROVAL_REJECTED"


async def test_what_is_withdrawn_is_not_said_to_be_rejected(lamp: Lamp) -> None:
    await asked(lamp)
    await lamp.decide(ApprovalStatus.WITHDRAWN)
    await until_moved(lamp, OperationStatus.CANCELLED)
    assert lamp.activities.projections[-1].operations[0].error_code == "APPROVAL_WITHDRAWN"


async def test_an_approval_carries_no_other_operation_along(lamp: Lamp) -> None:
    """Two are open; the first one's approval is the first one's."""
    await asked(lamp)
    [first] = lamp.row.operations
    second = OpenOperation(id=uuid4(), kind=PUT_OUT, status=OperationStatus.PENDING)
    lamp.activities.change(lamp.id, operations=[first, second])
    await lamp.wake_and_read()
    await lamp.decide(ApprovalStatus.APPROVED)
    await lamp.until(lambda row: row.status is Phase.OUT)
    assert lamp.activities.moved == {first.id: OperationStatus.SUCCEEDED, second.id: OperationStatus.CANCELLED}


async def test_what_nobody_decides_in_time_is_done_as_the_question_said(
    lamp: Lamp, environment: WorkflowEnvironment
) -> None:
    await asked(lamp)
    await environment.sleep(OPEN_FOR_S - 60)
    await lamp.wake_and_read()
    assert lamp.activities.moved == {}
    await environment.sleep(120)
    await until_moved(lamp, OperationStatus.CANCELLED)
    assert lamp.row.status is Phase.BURNING
    assert lamp.activities.projections[-1].operations[0].error_code == "APPROVAL_EXPIRED"


async def test_the_clock_of_the_database_says_when_it_is_late(lamp: Lamp, environment: WorkflowEnvironment) -> None:
    """It stands still while the workflow's goes on: the owner asks again at its pace, and not in a circle."""
    stands_at = await environment.get_current_time()

    async def still() -> object:
        return stands_at

    lamp.activities.now = still  # type: ignore[assignment]  # a clock that stopped
    await asked(lamp)
    await environment.sleep(OPEN_FOR_S + 10 * options.HOLD_S)
    assert lamp.activities.moved == {}
    assert sum(one.settles_due for one in lamp.activities.projections) <= 12
    lamp.activities.now = environment.get_current_time
    await lamp.until(lambda row: row.approvals[0].status is ApprovalStatus.REJECTED, lambda: environment.sleep(60))
    await until_moved(lamp, OperationStatus.CANCELLED)


POINTS = ["ask:after", "load:before", "load:after", "settle:before"]


@pytest.mark.parametrize("point", POINTS)
async def test_a_decision_is_heard_at_whichever_point_it_comes(
    lamp: Lamp, environment: WorkflowEnvironment, point: str
) -> None:
    """Between what an activity has read or written, and its owner's hearing of it."""
    reached = asyncio.Event()

    async def is_decided() -> None:
        await lamp.decide(ApprovalStatus.APPROVED)
        reached.set()

    if point == "ask:after":
        lamp.activities.at[point] = is_decided
        await lamp.command()
    else:
        await asked(lamp)
        lamp.activities.at[point] = is_decided
        await (lamp.wake() if point.startswith("load") else environment.sleep(OPEN_FOR_S + 60))
    async with asyncio.timeout(GIVE_UP_S):
        await reached.wait()
    await until_moved(lamp, OperationStatus.SUCCEEDED)
    assert (lamp.row.status, questions(lamp)) == (Phase.OUT, 1)


async def test_a_decision_is_heard_by_the_run_after_the_one_that_asked(
    lamp: Lamp, environment: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "RENEWAL_EVENTS", 30)
    first = (await lamp.handle.describe()).run_id
    await asked(lamp)
    async with asyncio.timeout(GIVE_UP_S):
        while (await lamp.handle.describe()).run_id == first:
            await lamp.wake_and_read()
    await environment.sleep(OPEN_FOR_S / 2)
    assert lamp.activities.moved == {}
    await lamp.decide(ApprovalStatus.APPROVED)
    await until_moved(lamp, OperationStatus.SUCCEEDED)
    assert questions(lamp) == 1


async def test_the_deadline_outlives_the_run_and_the_owner(lamp: Lamp, environment: WorkflowEnvironment) -> None:
    """Terminated in Temporal and begun again from the row: asked once, and until when it was asked the first time."""
    await asked(lamp)
    until = lamp.row.approvals[0].until
    await environment.sleep(OPEN_FOR_S / 2)
    await lamp.handle.terminate()
    await lamp.order()
    await lamp.wake_and_read()
    assert (questions(lamp), lamp.row.approvals[0].until) == (1, until)
    await environment.sleep(OPEN_FOR_S / 2 + 60)
    await until_moved(lamp, OperationStatus.CANCELLED)
