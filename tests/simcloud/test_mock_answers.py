"""The `mock` adapter on a cloud that lies, lags and loses: no error is read as absence or as an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from pydantic import SecretStr

from activities.adapters.mock import CloudClient, MockCompute
from models.base.errors import (
    AppError,
    ProviderAuth,
    ProviderRejected,
    ProviderUnavailable,
)
from models.ports.compute import Machine, MachineState
from tests.contract.compute_port import BootFactory, SpecFactory, eventually, gone, running
from tests.simcloud.cloud_process import TOKEN, CloudProcess
from tests.simcloud.on_mock import OnMock, retried


@pytest.fixture
def cloud(shared_cloud: CloudProcess) -> CloudProcess:
    return shared_cloud


class TestSeeingTheTruth(OnMock):
    """An error, a lag or a lie of the cloud is never read as absence or as an end."""

    @pytest.mark.parametrize("kind", ["error_before", "error_after", "lost_response", "lost_request", "throttled"])
    async def test_describe(
        self, cloud: CloudProcess, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory, kind: str
    ) -> None:
        spec = new_spec()
        made = await compute.create(spec, boot_for(spec))
        # what may be asked again soon the adapter asks again itself (activities/runtime/pacing.py)
        cloud.fault("describe", kind, count=1, **({"retry_after_s": 120.0} if kind == "throttled" else {}))
        with pytest.raises(AppError) as failed:
            await compute.describe(made.provider_instance_id, spec.zone)
        assert failed.value.retryable
        assert await compute.describe(made.provider_instance_id, spec.zone) is not None

    async def test_a_machine_that_is_not_shown_yet_is_not_absent(
        self, cloud: CloudProcess, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        spec = new_spec()
        cloud.fault("create", "describe_lag", count=1, lag_s=1.5)
        made = await compute.create(spec, boot_for(spec), first_attempt=True)
        with pytest.raises(ProviderUnavailable):
            await compute.describe(made.provider_instance_id, spec.zone)
        assert await compute.ended(made.provider_instance_id, spec.zone) is None
        await asyncio.sleep(1.6)
        await running(compute, made, patience_s)

    async def test_forbidden_while_provisioning_is_worth_another_try(
        self, cloud: CloudProcess, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        spec = new_spec()
        cloud.fault("create", "slow_build", count=1, delay_s=1.5)
        cloud.fault("delete", "forbidden_while_provisioning")
        cloud.fault("describe", "forbidden_while_provisioning")
        made = await compute.create(spec, boot_for(spec), first_attempt=True)
        for refused in (compute.describe, compute.delete):
            with pytest.raises(ProviderUnavailable):
                await refused(made.provider_instance_id, spec.zone)
        await asyncio.sleep(1.6)
        await running(compute, made, patience_s)
        await compute.delete(made.provider_instance_id, spec.zone)
        await gone(compute, made, patience_s)

    async def test_a_delete_that_was_ignored_is_not_an_end(
        self, cloud: CloudProcess, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        spec = new_spec()
        made = await compute.create(spec, boot_for(spec))
        cloud.fault("delete", "ignored", count=1)
        await compute.delete(made.provider_instance_id, spec.zone)
        await asyncio.sleep(0.4)
        assert await compute.ended(made.provider_instance_id, spec.zone) is None
        await compute.delete(made.provider_instance_id, spec.zone)
        await gone(compute, made, patience_s)

    async def test_a_delete_whose_answer_is_lost_still_ends_it(
        self, cloud: CloudProcess, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        spec = new_spec()
        made = await compute.create(spec, boot_for(spec))
        cloud.fault("delete", "lost_response", count=1)
        with pytest.raises(ProviderUnavailable):
            await compute.delete(made.provider_instance_id, spec.zone)
        await gone(compute, made, patience_s)

    async def test_stuck_in_build_is_pending_and_can_be_deleted(
        self, cloud: CloudProcess, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        spec = new_spec()
        cloud.fault("create", "stuck_in_build", count=1)
        made = await compute.create(spec, boot_for(spec), first_attempt=True)
        await asyncio.sleep(0.4)
        seen = await compute.describe(made.provider_instance_id, spec.zone)
        assert seen is not None
        assert seen.state is MachineState.PENDING
        await compute.delete(made.provider_instance_id, spec.zone)
        assert (await gone(compute, made, patience_s)).billed_until is None, "what never ran is not billed"

    async def test_a_failed_build_says_so(
        self, cloud: CloudProcess, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        spec = new_spec()
        cloud.fault("create", "build_error", count=1)
        made = await compute.create(spec, boot_for(spec), first_attempt=True)

        async def failed() -> Machine | None:
            seen = await compute.describe(made.provider_instance_id, spec.zone)
            return seen if seen and seen.state is MachineState.FAILED else None

        assert (await eventually(failed, patience_s)).error

    async def test_preempted_machine_stops_its_meter_before_it_is_gone(
        self, cloud: CloudProcess, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        spec = new_spec()
        up = await running(compute, await compute.create(spec, boot_for(spec)), patience_s)
        cloud.post(f"/sim/instances/{up.provider_instance_id}/preempt")
        seen = await compute.describe(up.provider_instance_id, spec.zone)
        assert seen is not None
        assert seen.state is MachineState.PREEMPTED
        assert seen.billed_until is not None
        assert (await gone(compute, up, patience_s)).billed_until == seen.billed_until

    async def test_switched_off_or_vanished_out_of_band(
        self, cloud: CloudProcess, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        spec = new_spec()
        up = await running(compute, await compute.create(spec, boot_for(spec)), patience_s)
        cloud.post(f"/sim/instances/{up.provider_instance_id}/stop")
        seen = await compute.describe(up.provider_instance_id, spec.zone)
        assert seen is not None
        assert (seen.state, seen.billed_until) == (MachineState.FAILED, None)
        cloud.post(f"/sim/instances/{up.provider_instance_id}/kill")
        assert await compute.describe(up.provider_instance_id, spec.zone) is None
        assert await compute.ended(up.provider_instance_id, spec.zone) is not None

    async def test_times_are_the_clouds(
        self, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        """The cloud's clock is 7 s ahead of ours."""
        spec = new_spec()
        before = datetime.now(UTC)
        up = await running(compute, await compute.create(spec, boot_for(spec)), patience_s)
        assert up.billed_from is not None
        assert up.created_at - before > timedelta(seconds=6)
        assert up.billed_from >= up.created_at

    async def test_a_volume_left_behind_is_found_and_can_be_ended(
        self, cloud: CloudProcess, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        spec = new_spec(data_volume_gb=5)
        made = await compute.create(spec, boot_for(spec))
        cloud.fault("delete", "volume_left_behind", count=1)
        await compute.delete(made.provider_instance_id, spec.zone)
        await gone(compute, made, patience_s)
        left = await compute.list_volumes(spec.installation_id, spec.instance_id, spec.zone)
        assert sorted(volume.size_gb for volume in left) == [5, 20]
        assert all(volume.attached_to is None for volume in left)
        cloud.fault("volumes", "ignored", count=1)
        await compute.delete_volume(left[0].provider_volume_id, spec.zone)
        assert await compute.volume_ended(left[0].provider_volume_id, spec.zone) is None
        for volume in left:
            await compute.delete_volume(volume.provider_volume_id, spec.zone)
            assert await compute.volume_ended(volume.provider_volume_id, spec.zone) is not None

    async def test_more_machines_than_a_page(
        self, cloud: CloudProcess, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory
    ) -> None:
        tag = f"quarterdeck:installation={new_spec().installation_id}"
        for number in range(520):
            cloud.post("/v1/instances", name=f"many-{number}", zone="local", type="mock-local-instance", tags=[tag])
        machines = await compute.list_machines(new_spec().installation_id, "local")
        assert len({machine.provider_instance_id for machine in machines}) == 520
        assert all(machine.instance_id is None for machine in machines)
        for machine in machines:
            cloud.post(f"/sim/instances/{machine.provider_instance_id}/kill")


class TestReinstallingOnce(OnMock):
    @pytest.mark.parametrize("kind", ["lost_response", "error_after", "lost_request", "error_before", "ignored"])
    async def test_whatever_the_answer(
        self,
        *,
        cloud: CloudProcess,
        compute: MockCompute,
        new_spec: SpecFactory,
        boot_for: BootFactory,
        patience_s: float,
        kind: str,
    ) -> None:
        spec = new_spec()
        up = await running(compute, await compute.create(spec, boot_for(spec)), patience_s)
        cloud.fault("reinstall", kind, count=1)
        second = boot_for(spec, generation=2)
        with pytest.raises(ProviderUnavailable):
            await compute.reinstall(up.provider_instance_id, spec, second)
        await retried(lambda: compute.reinstall(up.provider_instance_id, spec, second))
        await running(compute, up, patience_s)

    async def test_an_older_generation_comes_too_late(
        self, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        spec = new_spec()
        up = await running(compute, await compute.create(spec, boot_for(spec)), patience_s)
        third = await compute.reinstall(up.provider_instance_id, spec, boot_for(spec, generation=3))
        await running(compute, third, patience_s)
        with pytest.raises(ProviderRejected):
            await compute.reinstall(up.provider_instance_id, spec, boot_for(spec, generation=2))

    async def test_a_machine_that_is_gone_cannot_be_reinstalled(
        self, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory
    ) -> None:
        spec = new_spec()
        with pytest.raises(ProviderRejected):
            await compute.reinstall("sim-unknown", spec, boot_for(spec, generation=2))


class TestErrors(OnMock):
    async def test_a_wrong_token_is_final(
        self, compute_with: Callable[..., MockCompute], new_spec: SpecFactory
    ) -> None:
        with pytest.raises(ProviderAuth) as refused:
            await compute_with(token="wrong-token-f00").list_machines(new_spec().installation_id, "local")
        assert not refused.value.retryable
        assert "f00" not in str(refused.value.__dict__)

    async def test_nobody_there(
        self, compute_with: Callable[..., MockCompute], new_spec: SpecFactory, boot_for: BootFactory
    ) -> None:
        spec = new_spec()
        with pytest.raises(ProviderUnavailable) as failed:
            await compute_with(url="http://127.0.0.1:9").create(spec, boot_for(spec), first_attempt=True)
        assert boot_for(spec).bootstrap_token not in f"{failed.value.message} {failed.value.details}"

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (404, "<html>no such page</html>"),
            (404, '{"code": "http"}'),
            (200, "<html>welcome</html>"),
            (200, "[]"),
            (302, ""),
            (503, ""),
        ],
    )
    async def test_an_answer_of_somebody_else_proves_nothing(self, zone: str, status: int, body: str) -> None:
        async def stranger(_request: httpx.Request) -> httpx.Response:
            return httpx.Response(status, text=body)

        async with httpx.AsyncClient(transport=httpx.MockTransport(stranger)) as http:
            compute = MockCompute(CloudClient(http, base_url="http://cloud.invalid", token=SecretStr(TOKEN)))
            for question in (compute.describe, compute.ended, compute.volume_ended):
                with pytest.raises(AppError) as failed:
                    await question("sim-1", zone)
                assert failed.value.retryable
                assert "html" not in f"{failed.value.message}{failed.value.details}"

    @pytest.mark.parametrize("machine_id", ["../zones", "a/b", "a?b=c", "a b", "%2e%2e", "ü"])
    async def test_an_id_is_one_segment_of_the_path(self, compute: MockCompute, zone: str, machine_id: str) -> None:
        assert await compute.describe(machine_id, zone) is None
        await compute.delete(machine_id, zone)

    async def test_an_unknown_zone_is_refused(self, compute: MockCompute) -> None:
        with pytest.raises(ProviderRejected):
            await compute.list_instance_types("no-such-zone")
