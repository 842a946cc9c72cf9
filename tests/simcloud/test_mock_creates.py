"""The `mock` adapter makes one machine per key, however its creates fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from activities.adapters.mock import MockCompute
from activities.runtime.pacing import LONGEST_S
from models.base.errors import (
    NoCapacity,
    ProviderRejected,
    ProviderThrottled,
    ProviderUnavailable,
)
from models.ports.compute import Machine
from tests.contract.compute_port import BootFactory, SpecFactory, eventually, gone
from tests.patience import GIVE_UP_S
from tests.simcloud.cloud_process import CloudProcess
from tests.simcloud.on_mock import WINDOW_S, OnMock, retried

LAGGING_WINDOW_S = 2.5
"""For tests in which the cloud lags: wide enough that a busy machine does not decide them."""


@pytest.fixture
def cloud(shared_cloud: CloudProcess) -> CloudProcess:
    return shared_cloud


AMBIGUOUS = [
    ("lost_response", {}),
    ("error_after", {}),
    ("slow", {"delay_s": 3.0}),
    ("lost_request", {}),
    ("error_before", {}),
]


class TestCreatingOnce(OnMock):
    """However a create fails, one machine comes of it."""

    @pytest.mark.parametrize(("kind", "settings"), AMBIGUOUS)
    async def test_ambiguous_answer(
        self,
        *,
        cloud: CloudProcess,
        compute: MockCompute,
        new_spec: SpecFactory,
        boot_for: BootFactory,
        kind: str,
        settings,
    ) -> None:
        spec = new_spec()
        cloud.fault("create", kind, count=1, **settings)
        with pytest.raises(ProviderUnavailable):
            await compute.create(spec, boot_for(spec), first_attempt=True)
        made = await retried(lambda: compute.create(spec, boot_for(spec)))
        assert ever_made(cloud, spec.instance_id) == [made.provider_instance_id]

    @pytest.mark.parametrize("kind", ["lost_response", "error_after"])
    async def test_ambiguous_answer_and_a_list_that_lags(
        self,
        *,
        cloud: CloudProcess,
        compute_with: Callable[..., MockCompute],
        new_spec: SpecFactory,
        boot_for: BootFactory,
        kind: str,
    ) -> None:
        compute = compute_with(window_s=LAGGING_WINDOW_S)
        spec = new_spec()
        cloud.fault("create", kind, count=1)
        cloud.fault("create", "describe_lag", count=1, lag_s=LAGGING_WINDOW_S * 0.8)
        with pytest.raises(ProviderUnavailable):
            await compute.create(spec, boot_for(spec), first_attempt=True)
        assert await compute.find(spec.installation_id, spec.instance_id) == [], (
            "the lag did not hide it: nothing is tested"
        )
        made = await retried(lambda: compute.create(spec, boot_for(spec)))
        assert ever_made(cloud, spec.instance_id) == [made.provider_instance_id]

    async def test_killed_between_the_call_and_its_answer(
        self,
        cloud: CloudProcess,
        compute_with: Callable[..., MockCompute],
        new_spec: SpecFactory,
        boot_for: BootFactory,
    ) -> None:
        spec = new_spec()
        cloud.fault("create", "slow", count=1, delay_s=1.0)
        cloud.fault("create", "describe_lag", count=1, lag_s=LAGGING_WINDOW_S * 0.8)
        first = asyncio.create_task(compute_with().create(spec, boot_for(spec), first_attempt=True))
        await asyncio.sleep(0.2)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        made = await compute_with(window_s=LAGGING_WINDOW_S).create(spec, boot_for(spec))
        assert ever_made(cloud, spec.instance_id) == [made.provider_instance_id]

    async def test_a_first_attempt_does_not_wait_for_the_window(
        self, compute_with: Callable[..., MockCompute], new_spec: SpecFactory, boot_for: BootFactory
    ) -> None:
        spec = new_spec()
        async with asyncio.timeout(GIVE_UP_S):
            await compute_with(window_s=3_600).create(spec, boot_for(spec), first_attempt=True)

    async def test_a_cloud_that_breaks_its_promise_costs_a_twin_for_a_moment(
        self, cloud: CloudProcess, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory, patience_s: float
    ) -> None:
        spec = new_spec()
        cloud.fault("create", "lost_response", count=1)
        cloud.fault("create", "describe_lag", count=1, lag_s=WINDOW_S * 6)
        with pytest.raises(ProviderUnavailable):
            await compute.create(spec, boot_for(spec), first_attempt=True)
        younger = await compute.create(spec, boot_for(spec))

        async def both() -> list[Machine] | None:
            found = await compute.find(spec.installation_id, spec.instance_id)
            return found if len(found) == 2 else None

        older = (await eventually(both, patience_s))[0]
        assert older.provider_instance_id != younger.provider_instance_id
        assert (await compute.create(spec, boot_for(spec))).provider_instance_id == older.provider_instance_id
        await gone(compute, younger, patience_s)
        assert live(cloud, spec.instance_id) == [older.provider_instance_id]

    async def test_no_capacity_is_final_and_makes_nothing(
        self, cloud: CloudProcess, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory
    ) -> None:
        spec = new_spec()
        cloud.fault("create", "no_capacity", zone="local", type="sim-l4-1-24g")
        with pytest.raises(NoCapacity) as refused:
            await compute.create(spec, boot_for(spec))
        assert not refused.value.retryable
        assert ever_made(cloud, spec.instance_id) == []

    async def test_throttled_keeps_the_wait_that_was_asked_for(
        self, cloud: CloudProcess, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory
    ) -> None:
        spec = new_spec()
        cloud.fault("create", "throttled", count=1, retry_after_s=120.0)
        with pytest.raises(ProviderThrottled) as slowed:
            await compute.create(spec, boot_for(spec), first_attempt=True)
        assert slowed.value.retryable
        assert slowed.value.retry_after_s is not None
        assert 120.0 <= slowed.value.retry_after_s <= 120.0 + LONGEST_S

    async def test_a_throttled_look_is_not_an_absent_machine(
        self, cloud: CloudProcess, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory
    ) -> None:
        spec = new_spec()
        made = await compute.create(spec, boot_for(spec))
        cloud.fault("list", "throttled", count=1, retry_after_s=120.0)
        with pytest.raises(ProviderThrottled):
            await compute.create(spec, boot_for(spec))
        assert ever_made(cloud, spec.instance_id) == [made.provider_instance_id]

    async def test_refused_parameters_are_final(
        self, compute: MockCompute, new_spec: SpecFactory, boot_for: BootFactory
    ) -> None:
        spec = new_spec().model_copy(update={"instance_type": "no-such-type"})
        with pytest.raises(ProviderRejected) as refused:
            await compute.create(spec, boot_for(spec), first_attempt=True)
        assert not refused.value.retryable


def ever_made(cloud: CloudProcess, instance_id: object) -> list[str]:
    ledger = cloud.ledger(tag=f"quarterdeck:instance={instance_id}")
    return [machine["id"] for machine in ledger["machines"]]


def live(cloud: CloudProcess, instance_id: object) -> list[str]:
    tag = f"quarterdeck:instance={instance_id}"
    groups = cloud.ledger(tag=tag, group_prefix="quarterdeck:instance=")["groups"]
    found = groups.get(tag, {}).get("live_machines", [])
    assert isinstance(found, list)
    return found
