"""How an outbox row reaches its workflow."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class DeliveryKind(StrEnum):
    START = "start"  # start the owner; one that already ran is success
    COMMAND = "command"  # signal-with-start carrying an operation id
    OBSERVED = "observed"  # signal-with-start carrying an edge of the node agent


@dataclass(frozen=True)
class OutboxMessage:
    """One outbox row on its way to its workflow, whose id says whose owner it is."""

    id: UUID
    organization_id: UUID
    kind: DeliveryKind
    workflow: str
    workflow_id: str
    payload: dict[str, object]
    attempts: int = 0
    provider_code: str | None = None
    """Of what the owner owns, for the operator's lists; None where it has none, or the writer did not know it."""
