"""Alarms that owners raise by a note of their projection, and that end with what was wrong."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from models.contracts.operations import ActionNote
from models.contracts.owner_kinds import OwnerKind

logger = logging.getLogger(__name__)

ALARM, ALARM_CLEARED = "ALARM", "ALARM_CLEARED"
"""Types of actions: the first with the code of the alarm as its error's."""
UNNAMED: Final = "ALARM"
"""Code of an alarm whose note has none."""

RAISE = text(
    "SELECT raise_alarm(:code, :subject, :organization_id, :kind, :id, NULL, NULL, CAST(:params AS jsonb), true)"
)
CLEAR = text("SELECT clear_alarms_of(:id)")


@dataclass(frozen=True)
class About:
    """The resource that alarms are of."""

    owner: OwnerKind
    resource_id: UUID
    organization_id: UUID


async def follow(session: AsyncSession, about: About, notes: Sequence[ActionNote], *, is_over: bool) -> None:
    """What the notes of a projection say of alarms: raised where it is not yet, and all cleared by a note or where what was wrong
    `is_over`. Their lines in the action log are those of the notes. Call it last: it locks the organization's stream.
    """
    if is_over or any(note.action_type == ALARM_CLEARED for note in notes):
        cleared = (await session.execute(CLEAR, {"id": about.resource_id})).scalar_one()
        if cleared:
            logger.info("%d alarms of %s %s are cleared", cleared, about.owner.noun, about.resource_id)
    for note in notes:
        if note.action_type == ALARM and await _raised(session, about, note):
            logger.error(
                "alarm %s of %s %s: %s", note.error_code, about.owner.noun, about.resource_id, note.error_message
            )


async def _raised(session: AsyncSession, about: About, note: ActionNote) -> bool:
    values = {
        "code": note.error_code or UNNAMED,
        "subject": str(about.resource_id),
        "organization_id": about.organization_id,
        "kind": about.owner.resource_kind,
        "id": about.resource_id,
        "params": orjson.dumps(note.details, default=str).decode(),
    }
    return bool((await session.execute(RAISE, values)).scalar_one())
