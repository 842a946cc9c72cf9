"""Task queues (DESIGN 4): one for all workflows, one per provider with credentials, one per host that runs models itself."""

from enum import StrEnum

from models.domain.placement.offers import LOCAL


class TaskQueue(StrEnum):
    ORCHESTRATION = "orchestration"
    RECORDS = "records"


def compute_queue(provider_code: str, zone_code: str) -> str:
    """The queue whose workers can reach the provider. A `local` machine lives on one host, which its zone names."""
    return f"runner@{zone_code}" if provider_code == LOCAL else f"cloud-{provider_code}"
