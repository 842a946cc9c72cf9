"""`ComputePort` on the simulated cloud.

**How a create happens once.** The cloud has no idempotency key: two POSTs make two machines. It shows a new machine in its
lists only after a while, at most its *consistency window*, and an answer can be lost after the machine was made. The only
trace of a lost create is the tag that the machine carries. So:

1. Every machine is tagged with the installation, the instance and the `machine_key`, and `create` looks for the key first.
2. An empty list proves absence only if no create was sent within the window before it. The process may have been killed
   between any two lines, so only durable knowledge counts: the caller says `first_attempt=True` when it has just recorded, in a
   committed row, that the first create for this key is about to be sent, and found no such record before. Then one look is
   enough. In every other case `create` keeps looking for a whole window from its own start, and sends its POST only if the key
   never showed up. An earlier attempt ended before this one began, so whatever it made is visible by then.
3. After an ambiguous answer (time-out, dropped connection, 5xx, unreadable body) nothing is decided here: `ProviderUnavailable`
   is raised, and the next attempt looks, by rule 2, for a window.
4. Where the cloud breaks its promise (a machine shown after the window) or an attempt that was given up for dead was only
   paused, two machines bear one key. The next `create` keeps the oldest that is not ending and deletes the others; after that,
   `find` shows all of them to the owner, for whom each one it has not recorded is surplus, and their meters show what they cost.

The price: a retried create takes one window longer. The gain: no store of its own, no clock compared with another clock.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

from pydantic import SecretStr

from activities.adapters.mock.client import CloudClient, CloudInstance, CloudVolume, NewInstance, Status
from models.base.errors import ProviderRejected, ProviderUnavailable
from models.domain.fleet.instances.machines import INSTALLED_GENERATION
from models.ports.compute import (
    BootData,
    Ended,
    Machine,
    MachinesPage,
    MachineSpec,
    MachineState,
    OfferedType,
    Volume,
)

INSTALLATION_TAG = "quarterdeck:installation="
INSTANCE_TAG = "quarterdeck:instance="
MACHINE_KEY_TAG = "quarterdeck:machine-key="
GENERATION_TAG = "quarterdeck:generation="

CONSISTENCY_WINDOW_S = 5.0
"""The simulated cloud promises that a machine is listed this many seconds after it was made (docs/simulated-cloud.md)."""

LOOKS_PER_WINDOW = 5
HIDDEN_RETRY_AFTER_S = 1.0

STATES: Mapping[Status, MachineState] = {
    Status.BUILD: MachineState.PENDING,
    Status.REBUILD: MachineState.PENDING,
    Status.ACTIVE: MachineState.RUNNING,
    Status.SHUTOFF: MachineState.FAILED,  # switched off by somebody else: there, billed, and of no use
    Status.ERROR: MachineState.FAILED,
    Status.DELETING: MachineState.DELETING,
    Status.PREEMPTED: MachineState.PREEMPTED,
    Status.DELETED: MachineState.DELETING,  # never listed; a meter that is about to stop
}
REASONS: Mapping[Status, str] = {
    Status.SHUTOFF: "switched off at the provider",
    Status.ERROR: "the provider could not build the machine",
    Status.PREEMPTED: "taken back by the provider",
}
ENDING = frozenset({MachineState.DELETING, MachineState.PREEMPTED})


class MockCompute:
    """ComputePort, with reinstall, agent restart, volumes and catalogue."""

    def __init__(
        self,
        client: CloudClient,
        *,
        consistency_window_s: float = CONSISTENCY_WINDOW_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._window_s = consistency_window_s
        self._sleep = sleep
        self._monotonic = monotonic

    async def find(self, installation_id: UUID, instance_id: UUID) -> list[Machine]:
        tags = [f"{INSTALLATION_TAG}{installation_id}", f"{INSTANCE_TAG}{instance_id}"]
        return _oldest_first(await self._client.instances(tags))

    async def create(self, spec: MachineSpec, boot: BootData, *, first_attempt: bool = False) -> Machine:
        """The machine for `spec.machine_key`. `first_attempt` is a promise (rule 2 above) that spares the window.

        Takes up to the consistency window longer than the cloud's own answer where nothing is promised.
        """
        twins = await self._twins(spec) if first_attempt else await self._twins_within_window(spec)
        if twins:
            return await self._without_surplus(twins)
        new = NewInstance(
            name=spec.name,
            zone=spec.zone,
            type=spec.instance_type,
            tags=_tags(spec, boot),
            user_data=_user_data(boot),
            data_volume_gb=spec.data_volume_gb,
        )
        return _machine(await self._client.create(new))

    async def describe(self, provider_instance_id: str, zone: str) -> Machine | None:
        """None only when the meter agrees that the machine is gone: a fresh one may not be shown yet."""
        instance = await self._client.instance(provider_instance_id)
        if instance is not None:
            return _machine(instance)
        usage = await self._client.usage(provider_instance_id)
        if usage is None or usage.ended:
            return None
        raise ProviderUnavailable(
            "the machine exists, but the simulated cloud does not show it yet", retry_after_s=HIDDEN_RETRY_AFTER_S
        )

    async def delete(self, provider_instance_id: str, zone: str) -> None:
        await self._client.delete(provider_instance_id)

    async def ended(self, provider_instance_id: str, zone: str) -> Ended | None:
        return await self._meter_stopped(provider_instance_id)

    async def list_machines(self, installation_id: UUID, zone: str) -> list[Machine]:
        return _oldest_first(await self._client.instances([f"{INSTALLATION_TAG}{installation_id}"], zone))

    async def page_of_machines(self, installation_id: UUID, cursor: str | None = None) -> MachinesPage:
        tags = [f"{INSTALLATION_TAG}{installation_id}"]
        page = await self._client.page_of_instances(tags, cursor=cursor)
        ours = [instance for instance in page.instances if instance.carries(tags)]
        return MachinesPage(
            machines=_oldest_first(ours), foreign=len(page.instances) - len(ours), next_cursor=page.next_cursor
        )

    async def reinstall(self, provider_instance_id: str, spec: MachineSpec, boot: BootData) -> Machine:
        """The generation is a tag that the cloud sets together with the new boot data, so a repetition sees what was done."""
        instance = await self._client.instance(provider_instance_id)
        if instance is None:
            raise ProviderRejected("the machine to reinstall does not exist")
        installed = _generation(instance)
        if installed == boot.generation:
            return _machine(instance)
        if installed is not None and installed > boot.generation:
            raise ProviderRejected(
                "a newer generation is installed on this machine", details={INSTALLED_GENERATION: installed}
            )
        changed = await self._client.reinstall(provider_instance_id, _user_data(boot), _tags(spec, boot))
        if _generation(changed) != boot.generation:
            raise ProviderUnavailable("the simulated cloud accepted the reinstall and did not begin it")
        return _machine(changed)

    async def restart_agent(self, provider_instance_id: str, zone: str, boot: BootData) -> None:
        await self._client.restart_agent(provider_instance_id, _user_data(boot))

    async def list_volumes(self, installation_id: UUID, instance_id: UUID, zone: str) -> list[Volume]:
        tags = [f"{INSTALLATION_TAG}{installation_id}", f"{INSTANCE_TAG}{instance_id}"]
        return [_volume(volume) for volume in await self._client.volumes(tags, zone)]

    async def delete_volume(self, provider_volume_id: str, zone: str) -> None:
        await self._client.delete_volume(provider_volume_id)

    async def volume_ended(self, provider_volume_id: str, zone: str) -> Ended | None:
        return await self._meter_stopped(provider_volume_id)

    async def list_instance_types(self, zone: str) -> list[OfferedType]:
        return [OfferedType.model_validate(offered.model_dump()) for offered in await self._client.types(zone)]

    async def _meter_stopped(self, resource_id: str) -> Ended | None:
        """The meter, unlike the lists, never lags: what it does not know never was."""
        usage = await self._client.usage(resource_id)
        if usage is not None and not usage.ended:
            return None
        if usage is None:
            return Ended(provider_id=resource_id)
        return Ended(provider_id=resource_id, billed_from=usage.billed_from, billed_until=usage.billed_until)

    async def _twins(self, spec: MachineSpec) -> list[Machine]:
        tags = [f"{INSTALLATION_TAG}{spec.installation_id}", f"{MACHINE_KEY_TAG}{spec.machine_key}"]
        return _oldest_first(await self._client.instances(tags))

    async def _twins_within_window(self, spec: MachineSpec) -> list[Machine]:
        """What bears the key, looked for until something shows up or a window has passed since the first look began."""
        deadline = self._monotonic() + self._window_s
        while True:
            is_last_look = self._monotonic() >= deadline
            if (twins := await self._twins(spec)) or is_last_look:
                return twins
            await self._sleep(min(self._window_s / LOOKS_PER_WINDOW, max(0.0, deadline - self._monotonic())))

    async def _without_surplus(self, twins: Sequence[Machine]) -> Machine:
        """The oldest that is not ending, or the oldest; the others are asked to go."""
        kept = next((machine for machine in twins if machine.state not in ENDING), twins[0])
        for twin in twins:
            if twin is not kept and twin.state not in ENDING:
                await self._client.delete(twin.provider_instance_id)
        return kept


def _tags(spec: MachineSpec, boot: BootData) -> list[str]:
    return [
        f"{INSTALLATION_TAG}{spec.installation_id}",
        f"{INSTANCE_TAG}{spec.instance_id}",
        f"{MACHINE_KEY_TAG}{spec.machine_key}",
        f"{GENERATION_TAG}{boot.generation}",
    ]


def _user_data(boot: BootData) -> SecretStr:
    return SecretStr(boot.model_dump_json())


def _tag(instance: CloudInstance, prefix: str) -> str | None:
    return next((tag.removeprefix(prefix) for tag in instance.tags if tag.startswith(prefix)), None)


def _generation(instance: CloudInstance) -> int | None:
    text = _tag(instance, GENERATION_TAG) or ""
    return int(text) if text.isascii() and text.isdigit() else None


def _instance_id(instance: CloudInstance) -> UUID | None:
    try:
        return UUID(_tag(instance, INSTANCE_TAG) or "")
    except ValueError:
        return None


def _oldest_first(instances: Sequence[CloudInstance]) -> list[Machine]:
    return [_machine(instance) for instance in sorted(instances, key=lambda found: (found.created_at, found.id))]


def _machine(instance: CloudInstance) -> Machine:
    return Machine(
        provider_instance_id=instance.id,
        instance_id=_instance_id(instance),
        machine_key=_tag(instance, MACHINE_KEY_TAG),
        name=instance.name,
        zone=instance.zone,
        instance_type=instance.type,
        state=STATES[instance.status],
        created_at=instance.created_at,
        billed_from=instance.billed_from,
        billed_until=instance.billed_until,
        host=instance.address.host if instance.address else None,
        port=instance.address.port if instance.address else None,
        price_eur_per_hour=instance.price_eur_per_hour,
        error=REASONS.get(instance.status),
    )


def _volume(volume: CloudVolume) -> Volume:
    fields = volume.model_dump(exclude={"id"})
    return Volume(provider_volume_id=volume.id, **fields)
