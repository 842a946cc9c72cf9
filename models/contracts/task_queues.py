"""Task queues (DESIGN 4): one for all workflows, one per provider with credentials, one per host that runs models itself."""

from enum import StrEnum

from models.domain.fleet.provider_kind import CLOUD_QUEUE, HOST_QUEUE
from models.domain.fleet.provider_kinds import PROVIDER_KINDS


class TaskQueue(StrEnum):
    ORCHESTRATION = "orchestration"
    RECORDS = "records"


def is_provider_queue(queue: str) -> bool:
    """Whether those who poll it can reach a provider."""
    return queue.startswith((CLOUD_QUEUE, HOST_QUEUE))


def compute_queue(provider_code: str, zone_code: str) -> str:
    """The queue whose workers can reach the provider's machines in the zone."""
    return PROVIDER_KINDS.of(provider_code).queue(zone_code)
