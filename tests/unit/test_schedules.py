"""Ids and words of schedules: what is ours, whose run it is, and what cannot be meant."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from activities.runtime.callers import objection, scheduled
from activities.runtime.codec import Place
from models.base.errors import InvalidRequest
from models.base.ids import new_id
from models.contracts.schedules import (
    ScheduledRun,
    ScheduleKind,
    ScheduleKinds,
    operation_of_run,
    parse_run_id,
    parse_schedule_id,
    schedule_id_of,
)
from models.domain.schedules import Timing, checked, every
from tests.factories.gadgets import GADGET

ROW, OTHER = UUID("0abc" * 8), UUID("1abc" * 8)
RUN = f"gadget-count/{ROW}-2026-11-27T04:14:00Z"


def test_an_id_is_read_as_it_is_written_and_in_no_other_spelling() -> None:
    assert parse_schedule_id(schedule_id_of(ROW)) == ROW
    assert parse_run_id("gadget-count/", RUN) == ROW
    for other in (f"schedule/{str(ROW).upper()}", f"schedule/{ROW.hex}", f"schedules/{ROW}", "schedule/", "sweeper"):
        assert parse_schedule_id(other) is None


def run_of(schedule_id: UUID) -> ScheduledRun:
    return ScheduledRun(kind="gadget.count", schedule_id=schedule_id, organization_id=new_id(), resource_id=new_id())


@pytest.mark.parametrize(
    ("workflow_id", "argument", "is_served"),
    [
        (RUN, ROW, True),
        (RUN, OTHER, False),
        (f"gadget-count/{ROW}", ROW, False),
        (f"gadget-count/{ROW}-1", ROW, False),
        (f"gadget-count/{ROW}-2026-13-27T04:14:00Z", ROW, False),
        (f"scheduled/{ROW}-2026-11-27T04:14:00Z", ROW, False),
    ],
)
def test_a_run_is_served_for_its_own_row_only(workflow_id: str, argument: UUID, *, is_served: bool) -> None:
    caller = scheduled("CountGadget", "gadget-count/")
    assert (objection(caller, "CountGadget", workflow_id, [run_of(argument)]) is None) is is_served


def test_what_a_run_orders_has_one_id_which_sorts_by_time() -> None:
    early, late = datetime(2026, 11, 27, 4, 14, tzinfo=UTC), datetime(2026, 11, 27, 4, 15, tzinfo=UTC)
    assert operation_of_run(RUN, early) == operation_of_run(RUN, early)
    assert operation_of_run(RUN, early) < operation_of_run(RUN, late)
    assert operation_of_run(RUN, early) != operation_of_run(f"{RUN}2", early)
    assert operation_of_run(RUN, early).version == 7


@pytest.mark.parametrize(
    "timing",
    [
        Timing(),
        Timing(cron="* * * * *", interval_s=60),
        Timing(cron="* * * *"),
        Timing(cron="* * * * ; *"),
        Timing(cron="@daily"),
        every(0),
        every(59),
        every(400 * 86_400),
        Timing(cron="* * * * *", time_zone="Mars/Olympus"),
        Timing(cron="* * * * *", time_zone="../etc/passwd"),
    ],
)
def test_a_timing_that_cannot_be_meant_is_refused(timing: Timing) -> None:
    with pytest.raises(InvalidRequest):
        checked(timing)


def test_kinds_that_could_be_taken_for_each_other_are_refused() -> None:
    kind = ScheduleKind(kind="gadget.count", owner=GADGET)
    with pytest.raises(ValueError, match=r"gadget\.count"):
        ScheduleKinds([kind, ScheduleKind(kind="gadget.count", owner=GADGET)])
    with pytest.raises(ValueError, match="no operation"):
        ScheduleKind(kind="gadget.count", owner=GADGET, operation="instance.provision")


def test_what_the_run_before_answered_is_told_from_what_is_sealed_elsewhere() -> None:
    here = Place("default", RUN)
    assert here.is_run_after(Place("default", f"gadget-count/{ROW}-2026-11-27T04:13:00Z"))
    for other in (f"gadget-count/{OTHER}-2026-11-27T04:13:00Z", f"gadget-count/{ROW}-2026-11-27T04:15:00Z", RUN, ""):
        assert not here.is_run_after(Place("default", other))
        assert not here.admits(Place("default", other)) or other == RUN
    assert not here.is_run_after(Place("another", f"gadget-count/{ROW}-2026-11-27T04:13:00Z"))
