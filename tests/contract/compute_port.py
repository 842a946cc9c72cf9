"""What any adapter of `models.ports.compute.ComputePort` must do, whatever cloud is behind it.

To use it: a class of its own for `ComputePortSuite` and for the suite of each capability that the adapter has (their tests
share names, so one class cannot hold two of them), with the fixtures `compute`, `zone` and `instance_type` overridden, and others
of `Fixtures` where their defaults do not fit.
Every test has an installation of its own, and whatever it made is deleted after it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar
from uuid import UUID

import pytest

from activities.fleet.machine_pages import pages_of_machines
from models.base.errors import ProviderRejected
from models.base.ids import new_id
from models.domain.fleet.instances.machines import INSTALLED_GENERATION
from models.ports.compute import (
    BootData,
    ComputePort,
    Ended,
    Machine,
    MachineSpec,
    MachineState,
    SupportsAgentRestart,
    SupportsCatalog,
    SupportsReinstall,
    SupportsVolumes,
    Volume,
)
from tests.patience import GIVE_UP_S

CLOCK_TOLERANCE = timedelta(seconds=30)
Seen = TypeVar("Seen")


class SpecFactory(Protocol):
    def __call__(
        self, *, instance_id: UUID | None = None, generation: int = 1, data_volume_gb: int = 0
    ) -> MachineSpec: ...


class BootFactory(Protocol):
    def __call__(self, spec: MachineSpec, *, generation: int = 1) -> BootData: ...


async def eventually(look: Callable[[], Awaitable[Seen | None]], patience_s: float) -> Seen:
    """The first answer that is not None. Fails when there is none in time."""
    deadline = asyncio.get_running_loop().time() + patience_s
    while (seen := await look()) is None:
        assert asyncio.get_running_loop().time() < deadline, f"nothing within {patience_s} s"
        await asyncio.sleep(0.05)
    return seen


class Fixtures:
    """What every suite here is given."""

    @pytest.fixture
    def compute(self) -> ComputePort:
        raise NotImplementedError("override the fixture `compute`")

    @pytest.fixture
    def zone(self) -> str:
        raise NotImplementedError("override the fixture `zone`")

    @pytest.fixture
    def instance_type(self) -> str:
        raise NotImplementedError("override the fixture `instance_type`")

    @pytest.fixture
    def model_file(self) -> str | None:
        return None

    @pytest.fixture
    def control_plane_url(self) -> str:
        """By default a place where nobody listens: agents must bear that."""
        return "http://127.0.0.1:9"

    @pytest.fixture
    def pages_of_two(self, compute: ComputePort) -> None:
        """Has the provider list two machines to a page."""
        raise NotImplementedError("override the fixture `pages_of_two`")

    @pytest.fixture
    def patience_s(self) -> float:
        """How long the provider may take for any change of state."""
        return GIVE_UP_S

    @pytest.fixture
    def installation_id(self) -> UUID:
        return new_id()

    @pytest.fixture
    def new_spec(self, installation_id: UUID, zone: str, instance_type: str, model_file: str | None) -> SpecFactory:
        def make(*, instance_id: UUID | None = None, generation: int = 1, data_volume_gb: int = 0) -> MachineSpec:
            instance = instance_id or new_id()
            return MachineSpec(
                installation_id=installation_id,
                organization_id=new_id(),
                instance_id=instance,
                machine_key=f"{instance}/{generation}",
                name=f"contract-{instance}",
                zone=zone,
                instance_type=instance_type,
                model_id="HuggingFaceTB/SmolLM2-135M-Instruct",
                model_code="smollm2-135m-instruct",
                model_file=model_file,
                data_volume_gb=data_volume_gb,
            )

        return make

    @pytest.fixture
    def boot_for(self, control_plane_url: str) -> BootFactory:
        def make(spec: MachineSpec, *, generation: int = 1) -> BootData:
            return BootData(
                instance_id=spec.instance_id,
                control_plane_url=control_plane_url,
                bootstrap_token=f"bootstrap-{spec.instance_id}-{generation}",
                generation=generation,
                model_id=spec.model_id,
                model_code=spec.model_code,
                model_file=spec.model_file,
                slots=spec.slots,
                context_length=spec.context_length,
                heartbeat_interval_s=spec.heartbeat_interval_s,
            )

        return make

    @pytest.fixture(autouse=True)
    async def _leaves_nothing(
        self, compute: ComputePort, installation_id: UUID, zone: str, patience_s: float
    ) -> AsyncIterator[None]:
        yield
        for machine in await compute.list_machines(installation_id, zone):
            await compute.delete(machine.provider_instance_id, zone)
            await gone(compute, machine, patience_s)
        assert await compute.list_machines(installation_id, zone) == []


async def gone(compute: ComputePort, machine: Machine, patience_s: float) -> Ended:
    return await eventually(lambda: compute.ended(machine.provider_instance_id, machine.zone), patience_s)


async def running(compute: ComputePort, machine: Machine, patience_s: float) -> Machine:
    async def look() -> Machine | None:
        seen = await compute.describe(machine.provider_instance_id, machine.zone)
        assert seen is not None, "a machine that was created does not exist"
        assert seen.state is not MachineState.FAILED, seen.error
        return seen if seen.state is MachineState.RUNNING and seen.host and seen.port else None

    return await eventually(look, patience_s)


class ComputePortSuite(Fixtures):
    """The mandatory port."""

    def test_is_a_compute_port(self, compute: ComputePort) -> None:
        for operation in ("find", "create", "describe", "delete", "ended", "list_machines", "page_of_machines"):
            assert asyncio.iscoroutinefunction(getattr(compute, operation)), operation

    async def test_nothing_is_found_before_a_create(
        self, compute: ComputePort, installation_id: UUID, zone: str
    ) -> None:
        assert await compute.find(installation_id, new_id()) == []
        assert await compute.list_machines(installation_id, zone) == []

    async def test_a_created_machine_is_ours_and_found(
        self, compute: ComputePort, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        spec = new_spec()
        before = datetime.now(UTC)
        made = await compute.create(spec, boot_for(spec))
        assert (made.instance_id, made.machine_key) == (spec.instance_id, spec.machine_key)
        assert (made.zone, made.instance_type, made.name) == (spec.zone, spec.instance_type, spec.name)
        assert made.created_at.tzinfo is not None
        assert before - CLOCK_TOLERANCE < made.created_at < datetime.now(UTC) + CLOCK_TOLERANCE

        async def look() -> list[Machine] | None:
            return await compute.find(spec.installation_id, spec.instance_id) or None

        found = await eventually(look, patience_s)
        assert [machine.provider_instance_id for machine in found] == [made.provider_instance_id]

    async def test_it_comes_up_with_an_address_and_a_running_meter(
        self, compute: ComputePort, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        spec = new_spec()
        up = await running(compute, await compute.create(spec, boot_for(spec)), patience_s)
        assert 0 < (up.port or 0) < 65_536
        assert up.billed_from is not None
        assert up.billed_from >= up.created_at
        assert up.billed_until is None
        assert await compute.ended(up.provider_instance_id, spec.zone) is None

    async def test_creating_again_is_the_same_machine(
        self, compute: ComputePort, new_spec: SpecFactory, boot_for: BootFactory
    ) -> None:
        spec = new_spec()
        first = await compute.create(spec, boot_for(spec))
        again = await compute.create(spec, boot_for(spec))
        assert again.provider_instance_id == first.provider_instance_id
        assert again.created_at == first.created_at
        assert len(await compute.list_machines(spec.installation_id, spec.zone)) == 1

    async def test_creates_at_once_come_down_to_one_machine(
        self, compute: ComputePort, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        spec = new_spec()
        await asyncio.gather(*(compute.create(spec, boot_for(spec)) for _ in range(3)))
        settled = await compute.create(spec, boot_for(spec))

        async def look() -> list[Machine] | None:
            left = await compute.list_machines(spec.installation_id, spec.zone)
            return left if len(left) == 1 else None

        (left,) = await eventually(look, patience_s)
        assert left.provider_instance_id == settled.provider_instance_id

    async def test_another_instance_or_generation_is_another_machine(
        self, compute: ComputePort, new_spec: SpecFactory, boot_for: BootFactory
    ) -> None:
        spec = new_spec()
        replacement = new_spec(instance_id=spec.instance_id, generation=2)
        stranger = new_spec()
        made = [await compute.create(each, boot_for(each)) for each in (spec, replacement, stranger)]
        assert len({machine.provider_instance_id for machine in made}) == 3
        both = await compute.find(spec.installation_id, spec.instance_id)
        assert {machine.machine_key for machine in both} == {spec.machine_key, replacement.machine_key}
        assert [machine.created_at for machine in both] == sorted(machine.created_at for machine in both)

    @pytest.mark.usefixtures("pages_of_two")
    async def test_pages_show_each_machine_of_the_installation_once(
        self,
        compute: ComputePort,
        installation_id: UUID,
        new_spec: SpecFactory,
        boot_for: BootFactory,
        patience_s: float,
    ) -> None:
        """Five machines, another installation's between them, one that is gone."""
        made = []
        for number in range(6):
            spec = new_spec()
            made.append(await compute.create(spec, boot_for(spec)))
            if number == 1:
                stranger = spec.model_copy(update={"installation_id": new_id(), "machine_key": f"{new_id()}/1"})
                foreign = await compute.create(stranger, boot_for(stranger))
        gone_one = made.pop(2)
        await compute.delete(gone_one.provider_instance_id, gone_one.zone)
        await gone(compute, gone_one, patience_s)
        pages = [page async for page in pages_of_machines(compute, installation_id)]
        listed = [machine for page in pages for machine in page.machines]
        assert sorted(one.provider_instance_id for one in listed) == sorted(one.provider_instance_id for one in made)
        assert {(one.provider_instance_id, one.instance_id, one.zone) for one in listed} == {
            (one.provider_instance_id, one.instance_id, one.zone) for one in made
        }
        assert len(pages) > 2
        assert {len(page.machines) for page in pages} <= {0, 1, 2}
        assert sum(page.foreign for page in pages) == 0, "the provider was asked for ours"
        await compute.delete(foreign.provider_instance_id, foreign.zone)
        await gone(compute, foreign, patience_s)

    async def test_no_machine_is_one_page_of_none(self, compute: ComputePort, installation_id: UUID) -> None:
        page = await compute.page_of_machines(installation_id)
        assert (page.machines, page.foreign, page.next_cursor) == ([], 0, None)

    async def test_another_installation_sees_nothing(
        self, compute: ComputePort, new_spec: SpecFactory, boot_for: BootFactory
    ) -> None:
        spec = new_spec()
        await compute.create(spec, boot_for(spec))
        assert await compute.list_machines(new_id(), spec.zone) == []
        assert await compute.find(new_id(), spec.instance_id) == []

    async def test_an_unknown_machine_is_absent(self, compute: ComputePort, zone: str) -> None:
        unknown = "no-such-machine-0123456789"
        assert await compute.describe(unknown, zone) is None
        await compute.delete(unknown, zone)
        assert await compute.ended(unknown, zone) == Ended(provider_id=unknown, billed_until=None)

    async def test_delete_ends_machine_and_meter(
        self, compute: ComputePort, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        spec = new_spec()
        up = await running(compute, await compute.create(spec, boot_for(spec)), patience_s)
        await compute.delete(up.provider_instance_id, spec.zone)
        await compute.delete(up.provider_instance_id, spec.zone)
        end = await gone(compute, up, patience_s)
        assert end.provider_id == up.provider_instance_id
        assert end.billed_until is not None
        assert up.billed_from is not None
        assert end.billed_until >= up.billed_from
        assert await compute.describe(up.provider_instance_id, spec.zone) is None
        assert await compute.find(spec.installation_id, spec.instance_id) == []
        assert await compute.list_machines(spec.installation_id, spec.zone) == []

    async def test_the_end_is_told_again_and_does_not_move(
        self, compute: ComputePort, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        spec = new_spec()
        up = await running(compute, await compute.create(spec, boot_for(spec)), patience_s)
        await compute.delete(up.provider_instance_id, spec.zone)
        end = await gone(compute, up, patience_s)
        await compute.delete(up.provider_instance_id, spec.zone)
        assert await compute.ended(up.provider_instance_id, spec.zone) == end

    async def test_a_machine_may_be_deleted_before_it_is_up(
        self, compute: ComputePort, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        spec = new_spec()
        made = await compute.create(spec, boot_for(spec))
        await compute.delete(made.provider_instance_id, spec.zone)
        await gone(compute, made, patience_s)
        assert await compute.find(spec.installation_id, spec.instance_id) == []


class ReinstallSuite(Fixtures):
    def test_has_the_capability(self, compute: ComputePort) -> None:
        assert isinstance(compute, SupportsReinstall)

    async def test_the_machine_stays_and_comes_back(
        self, compute: ComputePort, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        assert isinstance(compute, SupportsReinstall)
        spec = new_spec()
        up = await running(compute, await compute.create(spec, boot_for(spec)), patience_s)
        again = await compute.reinstall(up.provider_instance_id, spec, boot_for(spec, generation=2))
        assert again.provider_instance_id == up.provider_instance_id
        back = await running(compute, again, patience_s)
        assert (back.machine_key, back.created_at) == (up.machine_key, up.created_at)
        assert len(await compute.list_machines(spec.installation_id, spec.zone)) == 1

    async def test_a_repetition_disturbs_nothing(
        self, compute: ComputePort, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        assert isinstance(compute, SupportsReinstall)
        spec = new_spec()
        up = await running(compute, await compute.create(spec, boot_for(spec)), patience_s)
        second = boot_for(spec, generation=2)
        back = await running(compute, await compute.reinstall(up.provider_instance_id, spec, second), patience_s)
        repeated = await compute.reinstall(up.provider_instance_id, spec, second)
        assert repeated.provider_instance_id == up.provider_instance_id
        assert repeated.state is MachineState.RUNNING
        assert repeated.port == back.port

    async def test_a_boot_that_is_older_than_the_machines_is_refused_with_that(
        self, compute: ComputePort, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        """Its sender goes by a database that was restored, and has to overtake it."""
        assert isinstance(compute, SupportsReinstall)
        spec = new_spec()
        up = await running(compute, await compute.create(spec, boot_for(spec)), patience_s)
        await running(
            compute,
            await compute.reinstall(up.provider_instance_id, spec, boot_for(spec, generation=3)),
            patience_s,
        )
        with pytest.raises(ProviderRejected) as refusal:
            await compute.reinstall(up.provider_instance_id, spec, boot_for(spec, generation=2))
        assert refusal.value.details[INSTALLED_GENERATION] == 3
        overtaking = await compute.reinstall(up.provider_instance_id, spec, boot_for(spec, generation=4))
        assert (await running(compute, overtaking, patience_s)).provider_instance_id == up.provider_instance_id


class AgentRestartSuite(Fixtures):
    def test_has_the_capability(self, compute: ComputePort) -> None:
        assert isinstance(compute, SupportsAgentRestart)

    async def test_the_machine_stays(
        self, compute: ComputePort, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        assert isinstance(compute, SupportsAgentRestart)
        spec = new_spec()
        boot = boot_for(spec)
        up = await running(compute, await compute.create(spec, boot), patience_s)
        await compute.restart_agent(up.provider_instance_id, spec.zone, boot)
        back = await running(compute, up, patience_s)
        assert (back.provider_instance_id, back.created_at) == (up.provider_instance_id, up.created_at)
        assert len(await compute.list_machines(spec.installation_id, spec.zone)) == 1


class VolumesSuite(Fixtures):
    """For an adapter whose `instance_type` brings volumes or takes a data volume."""

    def test_has_the_capability(self, compute: ComputePort) -> None:
        assert isinstance(compute, SupportsVolumes)

    async def test_volumes_carry_the_instance_and_end_with_it(
        self, compute: ComputePort, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        assert isinstance(compute, SupportsVolumes)
        spec = new_spec(data_volume_gb=5)
        up = await running(compute, await compute.create(spec, boot_for(spec)), patience_s)
        volumes: list[Volume] = await compute.list_volumes(spec.installation_id, spec.instance_id, spec.zone)
        assert [volume.size_gb for volume in volumes if not volume.is_boot] == [5]
        assert {volume.attached_to for volume in volumes} == {up.provider_instance_id}
        assert all(volume.billed_from is not None and volume.billed_until is None for volume in volumes)
        await compute.delete(up.provider_instance_id, spec.zone)
        await gone(compute, up, patience_s)
        for volume in await compute.list_volumes(spec.installation_id, spec.instance_id, spec.zone):
            await compute.delete_volume(volume.provider_volume_id, spec.zone)
        for volume in volumes:
            end = await compute.volume_ended(volume.provider_volume_id, spec.zone)
            assert end is not None
            assert end.billed_until is not None
        assert await compute.list_volumes(spec.installation_id, spec.instance_id, spec.zone) == []

    async def test_an_unknown_volume_is_absent(self, compute: ComputePort, zone: str) -> None:
        assert isinstance(compute, SupportsVolumes)
        await compute.delete_volume("no-such-volume-0123456789", zone)
        assert await compute.volume_ended("no-such-volume-0123456789", zone) is not None


class CatalogSuite(Fixtures):
    def test_has_the_capability(self, compute: ComputePort) -> None:
        assert isinstance(compute, SupportsCatalog)

    async def test_the_type_in_use_is_offered(self, compute: ComputePort, zone: str, instance_type: str) -> None:
        assert isinstance(compute, SupportsCatalog)
        offered = {each.code: each for each in await compute.list_instance_types(zone)}
        assert instance_type in offered
        assert all(each.zone == zone and each.cpu_count > 0 and each.ram_gb > 0 for each in offered.values())
