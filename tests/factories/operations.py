"""Operations, as rows that nobody has written yet."""

from __future__ import annotations

from typing import Any

from models.base.clock import utc_now
from models.base.ids import new_id
from models.contracts.fleet.owner_kinds import INSTANCE
from models.domain.fleet.operations import OperationKind
from models.domain.operations import OperationStatus
from models.tables.fleet.instances import Instance
from models.tables.operations import Operation


def operation(of: Instance, kind: OperationKind, status: OperationStatus, **columns: Any) -> Operation:
    defaults: dict[str, Any] = {"resource_kind": "instance", "workflow_id": INSTANCE.workflow_id(of.id)}
    return Operation(
        id=new_id(), organization_id=of.organization_id, kind=kind, status=status, resource_id=of.id,
        created_at=utc_now(), **defaults | columns,
    )  # fmt: skip
