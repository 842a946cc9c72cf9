"""Writing the action log of what an owner did."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from models.contracts.operations import ActionNote
from models.contracts.owner_kinds import OwnerKind
from models.tables.activity import ActionComponent, ActionLog, ActionStatus


def logs_of(
    owner: OwnerKind,
    resource_id: UUID,
    notes: Sequence[ActionNote],
    *,
    organization_id: UUID,
    before: str,
    after: str,
    now: datetime,
    details: Mapping[str, object],
) -> list[ActionLog]:
    """One finished line per note, from the orchestrator, to be inserted. `details` are those of every line; `before` and `after`
    the status of the resource.
    """
    logs = []
    for note in notes:
        started_at = min(note.started_at or now, now)
        logs.append(
            ActionLog(
                organization_id=organization_id,
                action_type=note.action_type,
                component=ActionComponent.ORCHESTRATOR,
                status=ActionStatus.FAILED if note.failed else ActionStatus.SUCCESS,
                resource_kind=owner.resource_kind,
                resource_id=resource_id,
                error_code=note.error_code,
                error_message=note.error_message,
                details={**note.details, **details},
                duration_ms=round((now - started_at).total_seconds() * 1000),
                instance_status_before=before,
                instance_status_after=after,
                created_at=started_at,
                completed_at=now,
            )
        )
    return logs
