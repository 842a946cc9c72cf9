"""The outbox: rows committed with a command, delivered by whoever comes first, redelivered until someone says so."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects import postgresql
from sqlmodel.ext.asyncio.session import AsyncSession

from models.contracts.outbox import DeliveryKind, OutboxMessage
from models.contracts.owner_kinds import OwnerKind
from models.tables.operations import OutboxRow

CLAIM = text("SELECT * FROM claim_outbox(:most, :lease_s)")
SETTLE = text("SELECT settle_outbox(:ids)").bindparams(bindparam("ids", type_=postgresql.ARRAY(postgresql.UUID)))
POSTPONE = text("SELECT postpone_outbox(:id, :error_code, :delay_s, :alarm_after_s)")
ALARM = text("SELECT alarm_outbox(:id)")

ALARM_AFTER_S = 600.0
"""A message that has failed for so long, or that nobody took up for so long, is an alarm (DESIGN rule 7)."""


def new(
    owner: OwnerKind,
    resource_id: UUID,
    *,
    organization_id: UUID,
    kind: DeliveryKind,
    payload: dict[str, object],
    now: datetime,
    grace: timedelta = timedelta(0),
    provider_code: str | None = None,
) -> OutboxRow:
    """A row to insert, for the owner of the resource.

    `now` is the transaction's (`began_at`): dispatchers compare with the database's clock. `grace` leaves the writer time to
    deliver the message itself.
    """
    return OutboxRow(
        organization_id=organization_id,
        kind=kind,
        workflow=owner.workflow,
        workflow_id=owner.workflow_id(resource_id),
        resource_kind=owner.resource_kind,
        resource_id=resource_id,
        provider_code=provider_code,
        payload=payload,
        next_attempt_at=now + grace,
    )


def message_of(row: OutboxRow) -> OutboxMessage:
    """For the process that commits the row and delivers it at once."""
    return OutboxMessage(
        row.id,
        row.organization_id,
        row.kind,
        row.workflow,
        row.workflow_id,
        row.payload,
        provider_code=row.provider_code,
    )


async def claim(session: AsyncSession, *, most: int, lease_s: float) -> list[OutboxMessage]:
    """Due messages of all organizations, oldest first, left alone by other dispatchers for `lease_s`."""
    rows = (await session.execute(CLAIM, {"most": most, "lease_s": lease_s})).mappings()
    return [
        OutboxMessage(
            row["id"],
            row["organization_id"],
            DeliveryKind(row["kind"]),
            row["workflow"],
            row["workflow_id"],
            row["payload"],
            row["attempts"],
            row["provider_code"],
        )
        for row in rows
    ]


async def settle(session: AsyncSession, ids: Sequence[UUID]) -> None:
    """The workflow has these; nobody sends them again."""
    await session.execute(SETTLE, {"ids": list(ids)})


async def postpone(session: AsyncSession, message_id: UUID, *, error_code: str, delay_s: float) -> bool:
    """True when the message has failed for `ALARM_AFTER_S`, by the database's clock, and nobody has raised the alarm yet."""
    values = {"id": message_id, "error_code": error_code, "delay_s": delay_s, "alarm_after_s": ALARM_AFTER_S}
    is_due: bool | None = (await session.execute(POSTPONE, values)).scalar_one()
    return bool(is_due)


async def alarm(session: AsyncSession, message_id: UUID) -> bool:
    """Raise the alarm of an undelivered message: on its row, in its organization's action log. True for the first to do so.

    In a transaction of its own: the stream is locked as that commits, for one organization at a time.
    """
    is_first: bool = (await session.execute(ALARM, {"id": message_id})).scalar_one()
    return is_first
