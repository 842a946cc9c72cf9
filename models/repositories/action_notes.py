"""Writing the action log of an instance."""

from collections.abc import Sequence
from datetime import datetime

from models.contracts.instances import ActionNote
from models.domain.instances.state import InstanceStatus
from models.tables.activity import ActionComponent, ActionLog, ActionStatus
from models.tables.instances import Instance


def logs_of(row: Instance, notes: Sequence[ActionNote], *, before: InstanceStatus, now: datetime) -> list[ActionLog]:
    """One finished line per note, from the orchestrator, to be inserted."""
    return [_log_of(row, note, min(note.started_at or now, now), before=before, now=now) for note in notes]


def _log_of(
    row: Instance, note: ActionNote, started_at: datetime, *, before: InstanceStatus, now: datetime
) -> ActionLog:
    return ActionLog(
        organization_id=row.organization_id,
        action_type=note.action_type,
        component=ActionComponent.ORCHESTRATOR,
        status=ActionStatus.FAILED if note.failed else ActionStatus.SUCCESS,
        instance_id=row.id,
        error_code=note.error_code,
        error_message=note.error_message,
        details={**note.details, "generation": row.generation},
        duration_ms=round((now - started_at).total_seconds() * 1000),
        instance_status_before=before.value,
        instance_status_after=row.status.value,
        created_at=started_at,
        completed_at=now,
    )
