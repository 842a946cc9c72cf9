"""Events: appended in the transaction that makes them true, read in order without gaps (DESIGN 3)."""

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.tables.activity import Event, EventStream

APPEND = text("SELECT append_event(:stream, :organization_id, :kind, CAST(:data AS jsonb))")


def organization_stream(organization_id: UUID) -> str:
    return f"organization/{organization_id}"


def operation_stream(operation_id: UUID) -> str:
    return f"operation/{operation_id}"


async def append(session: AsyncSession, stream: str, organization_id: UUID, kind: str, data_json: str) -> int:
    """The event's number in its stream. The stream stays locked until this transaction ends: append last."""
    result = await session.execute(
        APPEND, {"stream": stream, "organization_id": organization_id, "kind": kind, "data": data_json}
    )
    seq: int = result.scalar_one()
    return seq


async def read_after(session: AsyncSession, stream: str, seq: int, limit: int = 500) -> list[Event]:
    """Up to `limit` events numbered above `seq`, in order."""
    statement: Any = select(Event).where(Event.stream == stream, Event.seq > seq).order_by("seq").limit(limit)
    return list((await session.exec(statement)).all())


async def newest_seq(session: AsyncSession, stream: str) -> int:
    """The number of the stream's latest event; 0 before the first."""
    found = (await session.exec(select(EventStream.last_seq).where(EventStream.stream == stream))).one_or_none()
    return found or 0
