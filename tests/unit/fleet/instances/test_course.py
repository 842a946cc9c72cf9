"""How an instance goes on with a change of its owner: from the contract (fleet.md 3.2, 3.3; decision 14), without a database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from models.base.errors import IllegalTransition
from models.contracts.fleet.instances import InstanceKey, Projection
from models.domain.fleet.instances.course import Course, Hearing, after, hearing, is_move, shown_percent
from models.domain.fleet.instances.progress import Step
from models.domain.fleet.instances.state import NEXT, InstanceStatus
from models.domain.fleet.operations import OperationKind

S = InstanceStatus
THEN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = THEN + timedelta(hours=1)
ID = UUID(int=1)
DONE = [step.value for step in Step]


def course(status: InstanceStatus = S.READY, **more: Any) -> Course:
    return Course(status=status, generation=1, boot_count=1, **more)


def change(**more: Any) -> Projection:
    key = InstanceKey(instance_id=UUID(int=2), organization_id=UUID(int=3))
    return Projection(key=key, projection_id=ID, expected_version=4, **more)


def went(before: Course, **more: Any) -> Course:
    return after(before, change(**more), NOW)


@pytest.mark.parametrize(
    ("last", "version", "status", "heard"),
    [
        (None, 4, S.READY, Hearing.WRITTEN),
        (uuid4(), 4, S.READY, Hearing.WRITTEN),
        (ID, 5, S.READY, Hearing.REPEATED),
        (ID, 5, S.TERMINATED, Hearing.REPEATED),
        (ID, 6, S.READY, Hearing.LATE),  # decided anew under the same id, after other changes
        (ID, 4, S.READY, Hearing.WRITTEN),
        (None, 5, S.READY, Hearing.LATE),
        (None, 3, S.READY, Hearing.LATE),
        (None, 4, S.TERMINATED, Hearing.LATE),
        (None, 4, S.ARCHIVED, Hearing.LATE),
    ],
)
def test_a_change_is_written_once_and_on_what_it_was_decided_for(
    last: UUID | None, version: int, status: InstanceStatus, heard: Hearing
) -> None:
    assert hearing(change(), last_id=last, version=version, status=status) is heard


@pytest.mark.parametrize("status", InstanceStatus)
def test_only_moves_of_the_table_are_made(status: InstanceStatus) -> None:
    for to in InstanceStatus:
        if to is status:
            assert went(course(status), status=to) == course(status, completed_steps=[]), "nothing is stamped again"
        elif to in NEXT[status]:
            assert went(course(status), status=to).status is to
        else:
            with pytest.raises(IllegalTransition):
                went(course(status), status=to)


def test_each_state_has_its_moment() -> None:
    ready = went(course(S.STARTING, boot_started_at=THEN), status=S.READY)
    assert (ready.ready_at, ready.last_health_check, ready.boot_started_at) == (NOW, NOW, THEN)
    for failed in (S.FAILED, S.STARTUP_FAILED):
        assert went(course(S.BOOTING), status=failed).failed_at == NOW
    assert went(course(S.PROVISIONING), status=S.PROVISIONING_FAILED).failed_at == NOW
    assert went(course(S.TERMINATING), status=S.TERMINATED).terminated_at == NOW
    for plain in (S.UNAVAILABLE, S.DRAINING, S.TERMINATING):
        assert replace(went(course(), status=plain), status=S.READY) == course(completed_steps=[])


def test_a_new_boot_keeps_the_machine_and_begins_the_agent_anew() -> None:
    before = course(S.FAILED, failed_at=THEN, endpoint_port=8000, completed_steps=DONE)
    booted = went(before, status=S.BOOTING, begin_boot=True)
    assert (booted.generation, booted.boot_count, booted.endpoint_port) == (2, 2, None)
    assert (booted.boot_started_at, booted.failed_at) == (NOW, None)
    assert booted.completed_steps == ["PROVIDER_CREATE", "PROVIDER_START", "PROVIDER_GET_IP"]
    again = went(course(S.BOOTING), status=S.BOOTING, begin_boot=True)
    assert (again.boot_count, again.boot_started_at) == (2, NOW)
    assert is_move(course(S.BOOTING), change(status=S.BOOTING, begin_boot=True))
    assert not is_move(course(S.BOOTING), change(status=S.BOOTING))
    assert not is_move(course(S.BOOTING), change(begin_boot=True))


@pytest.mark.parametrize(("least", "generation"), [(None, 2), (1, 2), (2, 2), (7, 7)])
def test_a_boot_gets_a_generation_that_no_agent_of_the_machine_had(least: int | None, generation: int) -> None:
    assert went(course(), begin_boot=True, least_generation=least).generation == generation


def test_an_error_stays_until_it_is_cleared_or_another_comes() -> None:
    before = course(error_code="OLD", error_message="old")
    assert (went(before).error_code, went(before).error_message) == ("OLD", "old")
    cleared = went(before, clear_error=True)
    assert (cleared.error_code, cleared.error_message) == (None, None)
    for clear in (True, False):
        other = went(before, clear_error=clear, error_code="NEW")
        assert (other.error_code, other.error_message) == ("NEW", None)


def test_the_first_reason_of_an_end_stays_and_what_the_provider_did_is_never_taken_back() -> None:
    before = course(deletion_reason="first", deleted_by_provider=True, heal_attempts=2)
    same = went(before, deletion_reason="second", deleted_by_provider=False)
    assert (same.deletion_reason, same.deleted_by_provider, same.heal_attempts) == ("first", True, 2)
    assert went(course(), deletion_reason="second").deletion_reason == "second"
    assert went(before, heal_attempts=0).heal_attempts == 0


def test_steps_are_added_once_in_the_order_in_which_they_were_done() -> None:
    before = course(S.BOOTING, completed_steps=["PROVIDER_CREATE"])
    done = went(before, steps=[Step.PROVIDER_START, Step.PROVIDER_CREATE, Step.PROVIDER_GET_IP]).completed_steps
    assert done == ["PROVIDER_CREATE", "PROVIDER_START", "PROVIDER_GET_IP"]


def test_an_operation_shows_the_instances_progress_which_never_falls() -> None:
    booting = course(S.BOOTING, completed_steps=["PROVIDER_CREATE", "PROVIDER_START"])
    assert shown_percent(OperationKind.INSTANCE_PROVISION, Decimal(0), booting) == 30
    assert shown_percent(OperationKind.INSTANCE_PROVISION, Decimal(50), booting) == 50
    assert shown_percent(OperationKind.INSTANCE_PROVISION, Decimal(50), course()) == 100
    assert shown_percent(OperationKind.INSTANCE_TERMINATE, Decimal(0), course()) == 0
