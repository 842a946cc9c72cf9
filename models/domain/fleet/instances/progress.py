"""Progress of an instance: the completed steps of this boot, never elapsed time (contract decision 14)."""

from collections.abc import Collection
from enum import StrEnum

from models.domain.fleet.instances.state import InstanceStatus


class Step(StrEnum):
    """Steps in order; the values are action types (contract/fleet.md 11.1)."""

    PROVIDER_CREATE = "PROVIDER_CREATE"
    PROVIDER_START = "PROVIDER_START"
    PROVIDER_GET_IP = "PROVIDER_GET_IP"
    WORKER_REGISTERED = "WORKER_REGISTERED"
    WORKER_INSTALL = "WORKER_INSTALL"
    WORKER_VLLM_HTTP_OK = "WORKER_VLLM_HTTP_OK"
    WORKER_MODEL_LOADED = "WORKER_MODEL_LOADED"
    HEALTH_CHECK = "HEALTH_CHECK"


PERCENT: dict[Step, int] = {
    Step.PROVIDER_CREATE: 20,
    Step.PROVIDER_START: 30,
    Step.PROVIDER_GET_IP: 40,
    Step.WORKER_REGISTERED: 50,
    Step.WORKER_INSTALL: 60,
    Step.WORKER_VLLM_HTTP_OK: 70,
    Step.WORKER_MODEL_LOADED: 80,
    Step.HEALTH_CHECK: 95,
}
"""Percent reached when a step and all before it are done (contract/fleet.md 3.3, without the steps of the SSH install)."""

NOTHING_YET = 5

MACHINE_STEPS: tuple[Step, ...] = (Step.PROVIDER_CREATE, Step.PROVIDER_START, Step.PROVIDER_GET_IP)
"""Steps of the machine itself: a reinstall keeps them, the steps of the agent begin again."""

CLIMBING = frozenset(
    {
        InstanceStatus.PROVISIONING,
        InstanceStatus.BOOTING,
        InstanceStatus.INSTALLING,
        InstanceStatus.STARTING,
    }
)


def progress_percent(status: InstanceStatus, completed: Collection[Step]) -> int:
    """0 to 100: 100 only when ready, 0 in every failed, ending or idle state; the first missing step stops the climb."""
    if status is InstanceStatus.READY:
        return 100
    if status not in CLIMBING:
        return 0
    reached = NOTHING_YET
    for step in Step:
        if step not in completed:
            break
        reached = PERCENT[step]
    return reached
