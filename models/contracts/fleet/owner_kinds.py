"""What the fleet owns: instances."""

from typing import Final
from uuid import UUID

from models.contracts.fleet.instances import InstanceInput, Observed
from models.contracts.operations import Command
from models.contracts.outbox import DeliveryKind
from models.contracts.owner_kinds import OwnedRows, OwnerKind, Signal
from models.contracts.task_queues import TaskQueue
from models.domain.fleet.instances.state import FINAL
from models.domain.fleet.operations import OperationKind


def _start(instance_id: UUID, organization_id: UUID) -> InstanceInput:
    return InstanceInput(instance_id=instance_id, organization_id=organization_id)


INSTANCE: Final = OwnerKind(
    resource_kind="instance",
    noun="instance",
    workflow="Instance",
    id_prefix="instance/",
    queue=TaskQueue.ORCHESTRATION,
    surface="fleet",
    path="/instances/{id}",
    start=_start,
    signals={
        DeliveryKind.COMMAND: Signal("command", Command),
        DeliveryKind.OBSERVED: Signal("observed", Observed),
    },
    operations=frozenset(OperationKind),
    rows=OwnedRows(
        unfinished=(
            "SELECT instance_id AS resource_id, organization_id, provider_code FROM unfinished_instances(:older_than_s)"
        ),
        without_need="SELECT instance_id AS resource_id FROM instances_without_need(:ids, :settled_s)",
        kept_open="SELECT resource_id FROM keep_rows_open('instances', :final, :ids)",
        blocking=(
            "SELECT id AS resource_id FROM instances WHERE status <> ALL (CAST(:final AS text[])) "
            "AND (create_attempted_at IS NOT NULL OR status = 'provisioning')"
        ),
        values={"final": sorted(FINAL)},
    ),
    id_field="instance_id",
)

OWNER_KINDS: Final = (INSTANCE,)
