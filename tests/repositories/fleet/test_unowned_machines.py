"""Which listed machines belong to nobody, who is told, and what is kept of them."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from models.base.clock import utc_now
from models.base.ids import new_id
from models.domain.fleet.billing.segments import PriceSource, UsageKind
from models.domain.fleet.instances.state import FINAL, InstanceStatus
from models.domain.fleet.instances.unowned import UnownedReason
from models.domain.identity.principal import Principal
from models.ports.compute import Machine, MachineState
from models.repositories import pulse
from models.repositories.database import Database
from models.repositories.fleet.beats import BEAT, UNOWNED_MACHINES
from models.repositories.fleet.unowned_machines import UnownedMachines
from models.tables.activity import ActionLog, Event
from models.tables.fleet.billing import BillingSegment
from models.tables.fleet.instances import Instance
from models.tables.fleet.unowned import MachineListing, UnownedMachine
from models.tables.identity import Organization
from models.tables.installation import Installation
from tests.factories.founded import founded
from tests.factories.rows import Rows
from tests.servers import TestDatabase

QUEUE = "cloud-mock"
S = InstanceStatus
REMOVING = {S.DRAINING, S.TERMINATING}


@dataclass(frozen=True)
class Found:
    rows: Rows
    machines: UnownedMachines
    api: Database
    principal: Principal

    def instance(self, status: InstanceStatus = S.READY, **columns: Any) -> Instance:
        return self.rows.instance(self.principal.organization_id, status, **columns)

    def billed(self, instance: Instance, machine_id: str) -> None:
        self.rows.add(
            BillingSegment(
                id=new_id(), organization_id=instance.organization_id, instance_id=instance.id,
                provider_resource_id=machine_id, usage_kind=UsageKind.COMPUTE, price_eur_per_hour=Decimal(1),
                price_source=PriceSource.CATALOG, opened_at=utc_now(),
            )
        )  # fmt: skip

    async def reason(self, machine: Machine) -> UnownedReason | None:
        return (await self.machines.judge([machine])).get(machine.provider_instance_id)

    async def counted(self) -> int:
        async with self.api.system() as session:
            return (await pulse.beat(session, BEAT)).count(UNOWNED_MACHINES)

    def alarms(self) -> list[ActionLog]:
        return self.rows.all(ActionLog, action_type="ALARM")


def machine(name: str = "m-1", instance_id: UUID | None = None) -> Machine:
    return Machine(
        provider_instance_id=name, instance_id=instance_id, name=f"qd-{name}", zone="local", instance_type="sim-l4-1-24g",
        state=MachineState.RUNNING, created_at=utc_now(), price_eur_per_hour="0.75",
    )  # fmt: skip


@pytest.fixture
def rows(database: TestDatabase) -> Iterator[Rows]:
    rows = Rows(database)
    yield rows
    rows.close()


@pytest.fixture
async def found(database: TestDatabase, rows: Rows) -> AsyncIterator[Found]:
    principal = await founded(database)
    worker, api = Database(database.worker, pool_size=4), Database(database.api, pool_size=2)
    yield Found(rows, UnownedMachines(worker), api, principal)
    await worker.close()
    await api.close()


async def test_a_machine_of_no_instance_belongs_to_nobody(found: Found) -> None:
    assert await found.reason(machine(instance_id=new_id())) is UnownedReason.NO_ROW
    assert await found.reason(machine(instance_id=None)) is UnownedReason.NO_ROW
    assert await found.machines.judge([]) == {}


@pytest.mark.parametrize("status", list(S))
async def test_a_machine_on_record_belongs_to_its_instance_as_long_as_that_lives(
    found: Found, status: InstanceStatus
) -> None:
    instance = found.instance(status, provider_instance_id="m-1")
    expected = UnownedReason.ROW_FINISHED if status in FINAL else None
    assert await found.reason(machine(instance_id=instance.id)) is expected
    found.billed(instance, "m-1")
    assert await found.reason(machine(instance_id=instance.id)) is None, "its bill is open: its owner has not ended"


@pytest.mark.parametrize("status", list(S))
async def test_before_a_machine_is_on_record_each_with_the_tag_may_be_the_one(
    found: Found, status: InstanceStatus
) -> None:
    instance = found.instance(status)
    expected = UnownedReason.ROW_FINISHED if status in FINAL else None
    assert await found.reason(machine(instance_id=instance.id)) is expected


@pytest.mark.parametrize("status", list(S))
async def test_a_second_machine_is_one_too_many_unless_its_removal_is_under_way(
    found: Found, status: InstanceStatus
) -> None:
    instance = found.instance(status, provider_instance_id="m-1")
    expected = UnownedReason.ROW_FINISHED if status in FINAL else None if status in REMOVING else UnownedReason.SURPLUS
    assert await found.reason(machine("m-2", instance.id)) is expected
    found.billed(instance, "m-2")
    assert await found.reason(machine("m-2", instance.id)) is None, "on record: the instance's removal ends it"


async def test_the_alarm_goes_to_the_organization_of_the_instance(found: Found) -> None:
    organization = Organization(name="other", slug="other")
    found.rows.add(organization)
    instance = found.rows.instance(organization.id, S.TERMINATED)
    lost = machine(instance_id=instance.id)
    assert await found.machines.report(QUEUE, lost, UnownedReason.ROW_FINISHED)
    [alarm] = found.alarms()
    assert (alarm.organization_id, alarm.instance_id) == (organization.id, instance.id)


async def test_without_an_instance_it_goes_to_the_first_organization_once(found: Found) -> None:
    lost, nobody = machine(), new_id()
    lost.instance_id = nobody
    assert await found.machines.report(QUEUE, lost, UnownedReason.NO_ROW)
    assert not await found.machines.report(QUEUE, lost, UnownedReason.NO_ROW)
    [alarm] = found.alarms()
    assert (alarm.organization_id, alarm.instance_id) == (found.principal.organization_id, None)
    assert (alarm.status, alarm.error_code) == ("failed", "MACHINE_WITHOUT_OWNER")
    assert alarm.details == {
        "provider_instance_id": "m-1", "provider": QUEUE, "zone": "local", "instance_type": "sim-l4-1-24g",
        "reason": "no_row", "tagged_instance_id": str(nobody),
    }  # fmt: skip
    assert [event.data["ids"] for event in found.rows.all(Event, kind="action_log.created")] == [[str(alarm.id)]]
    kept = found.rows.one(UnownedMachine)
    assert (kept.created_at, str(kept.price_eur_per_hour)) == (lost.created_at, "0.750000")
    assert await found.machines.report("runner@a", lost, UnownedReason.NO_ROW), (
        "of another provider it is another machine"
    )
    assert await found.counted() == 2


async def test_what_is_over_is_kept_no_longer_and_an_end_is_logged(found: Found) -> None:
    for name in ("gone", "ended"):
        await found.machines.report(QUEUE, machine(name), UnownedReason.NO_ROW)
    await found.machines.settle(QUEUE, "gone", ended=False)
    for _ in range(2):
        await found.machines.settle(QUEUE, "ended", ended=True)
    assert (await found.machines.reported(QUEUE), await found.counted()) == ({}, 0)
    [end] = found.rows.all(ActionLog, action_type="UNOWNED_MACHINE_ENDED")
    assert (end.status, end.error_code, end.details["provider_instance_id"]) == ("success", None, "ended")
    assert await found.machines.report(QUEUE, machine("gone"), UnownedReason.NO_ROW), "found again, it is news again"


async def test_that_there_is_no_list_is_said_once_and_not_of_a_hiccup(found: Found) -> None:
    assert [await found.machines.failed(QUEUE, code) for code in ("A", "B", "C")] == [False, True, False]
    failing = found.rows.one(MachineListing)
    assert (failing.failures, failing.error_code, failing.completed_at) == (3, "C", None)
    assert await found.machines.listed(QUEUE, 7), "it had been said"
    assert not await found.machines.failed(QUEUE, "A")
    assert not await found.machines.listed(QUEUE, 8), "nobody had been told"
    listed = found.rows.one(MachineListing)
    assert (listed.machines, listed.failures, listed.failing_since, listed.error_code) == (8, 0, None, None)


async def test_the_installation_is_whose_tag_is_looked_for(found: Found, rows: Rows) -> None:
    assert await found.machines.installation_id() == rows.one(Installation).id
