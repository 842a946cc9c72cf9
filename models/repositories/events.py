"""Events: appended in the transaction that makes them true, read in order without gaps (DESIGN 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Text, Uuid, bindparam, cast, func
from sqlalchemy import select as select_columns
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.tables.activity import Event, EventStream

_NEW = (
    func.unnest(*(bindparam(name, type_=ARRAY(Text)) for name in ("streams", "kinds", "data")))
    .table_valued("stream", "kind", "data")
    .render_derived()
)
APPEND_ALL = select_columns(
    func.append_event(_NEW.c.stream, bindparam("organization_id", type_=Uuid), _NEW.c.kind, cast(_NEW.c.data, JSONB))
)
"""One number for each event in `values_of`. Other statements are put before it as common table expressions."""


@dataclass(frozen=True)
class NewEvent:
    stream: str
    kind: str
    data: Mapping[str, object]


def stream_of(resource_kind: str, resource_id: UUID) -> str:
    """Of what only those who follow one resource want to know (DESIGN 3); what lists show is told to the organization."""
    return f"{resource_kind}/{resource_id}"


def organization_stream(organization_id: UUID) -> str:
    return stream_of("organization", organization_id)


def operation_stream(operation_id: UUID) -> str:
    return stream_of("operation", operation_id)


def values_of(organization_id: UUID, new: Sequence[NewEvent]) -> dict[str, object]:
    """The parameters of `APPEND_ALL`."""
    return {
        "organization_id": organization_id,
        "streams": [event.stream for event in new],
        "kinds": [event.kind for event in new],
        "data": [orjson.dumps(event.data).decode() for event in new],
    }


def of_command(organization_id: UUID, resource_kind: str, resource_id: UUID, action_log_id: UUID) -> list[NewEvent]:
    """What followers of an organization see of a command on a resource: ids, for which they read the rest."""
    stream, resource = organization_stream(organization_id), str(resource_id)
    return [
        NewEvent(stream, f"{resource_kind}.updated", {"ids": [resource]}),
        NewEvent(stream, "action_log.created", {"ids": [str(action_log_id)], f"{resource_kind}_ids": [resource]}),
    ]


def of_ended(operation_id: UUID) -> NewEvent:
    """What followers of an operation hear that its owner never began: they read the rest."""
    return NewEvent(operation_stream(operation_id), "operation.updated", {"ids": [str(operation_id)]})


async def read_after(session: AsyncSession, stream: str, seq: int, limit: int = 500) -> list[Event]:
    """Up to `limit` events numbered above `seq`, in order."""
    statement: Any = select(Event).where(Event.stream == stream, Event.seq > seq).order_by("seq").limit(limit)
    return list((await session.exec(statement)).all())


async def newest_seq(session: AsyncSession, stream: str) -> int:
    """The number of the stream's latest event; 0 before the first."""
    found = (await session.exec(select(EventStream.last_seq).where(EventStream.stream == stream))).one_or_none()
    return found or 0
