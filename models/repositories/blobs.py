"""Rows of blobs. The object of a row is written before it and removed after it, so that what a row names is there."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import cast
from uuid import UUID

from sqlalchemy import CursorResult, bindparam, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import Conflict, NotFound
from models.base.ids import new_id
from models.repositories.database import Database
from models.tables.blobs import Blob
from models.tables.installation import Installation

TOUCH = text("UPDATE blobs SET touched_at = now() WHERE sha256 = :sha256 RETURNING object_id, size_bytes")
KEEP = text("""
INSERT INTO blobs AS b (organization_id, sha256, object_id, size_bytes)
VALUES (:organization_id, :sha256, :object_id, :size_bytes)
ON CONFLICT (organization_id, sha256) DO UPDATE SET touched_at = now(),
    object_id = CASE WHEN b.object_id = :lost THEN excluded.object_id ELSE b.object_id END
RETURNING object_id
""").bindparams(bindparam("lost", type_=postgresql.UUID), bindparam("object_id", type_=postgresql.UUID))
REFER = text("""
INSERT INTO blob_references (id, organization_id, sha256, resource_kind, resource_id)
VALUES (:id, :organization_id, :sha256, :resource_kind, :resource_id) ON CONFLICT DO NOTHING
""")
LET_GO = text("""
WITH gone AS (
    DELETE FROM blob_references WHERE resource_kind = :resource_kind AND resource_id = :resource_id
    RETURNING organization_id, sha256
)
UPDATE blobs b SET touched_at = now() FROM gone WHERE b.organization_id = gone.organization_id AND b.sha256 = gone.sha256
""")
DELETE = text("DELETE FROM blobs WHERE sha256 = :sha256 RETURNING object_id")
FORGET = text("SELECT blob_organization_id, blob_object_id FROM forget_unreferred_blobs(:grace_s, :most)")
KNOWN = text("SELECT known_blob_objects(:ids)").bindparams(bindparam("ids", type_=postgresql.ARRAY(postgresql.UUID)))

FORGOTTEN_AT_ONCE = 100


@dataclass(frozen=True)
class Kept:
    """What a row says."""

    object_id: UUID
    size_bytes: int


def blob_not_found() -> NotFound:
    return NotFound("your organization has no such blob", code="BLOB_NOT_FOUND")


async def installation_id(session: AsyncSession) -> UUID:
    return (await session.exec(select(Installation.id))).one()


async def find(session: AsyncSession, sha256: str) -> Kept:
    """Of the session's organization. Raises NotFound."""
    row = (await session.exec(select(Blob).where(Blob.sha256 == sha256))).one_or_none()
    if row is None:
        raise blob_not_found()
    return Kept(row.object_id, row.size_bytes)


async def touch(session: AsyncSession, sha256: str) -> Kept | None:
    """The row, which is not removed within the grace time from now."""
    found = (await session.execute(TOUCH, {"sha256": sha256})).one_or_none()
    return None if found is None else Kept(found.object_id, found.size_bytes)


async def keep(
    session: AsyncSession, organization_id: UUID, sha256: str, kept: Kept, *, lost: UUID | None = None
) -> UUID:
    """The object that counts from now on: that of a row which is there already, unless that is `lost`."""
    values = {
        "organization_id": organization_id,
        "sha256": sha256,
        "object_id": kept.object_id,
        "size_bytes": kept.size_bytes,
        "lost": lost,
    }
    return UUID(str((await session.execute(KEEP, values)).scalar_one()))


async def refer(
    session: AsyncSession, organization_id: UUID, sha256: str, *, resource_kind: str, resource_id: UUID
) -> None:
    """The resource needs the blob from now on; again is fine. To be written where the resource is. Raises NotFound."""
    if await touch(session, sha256) is None:
        raise blob_not_found()
    values = {
        "id": new_id(),
        "organization_id": organization_id,
        "sha256": sha256,
        "resource_kind": resource_kind,
        "resource_id": resource_id,
    }
    await session.execute(REFER, values)


async def let_go(session: AsyncSession, *, resource_kind: str, resource_id: UUID) -> int:
    """The resource needs none of its blobs any more; how many those were."""
    values = {"resource_kind": resource_kind, "resource_id": resource_id}
    return cast("CursorResult[object]", await session.execute(LET_GO, values)).rowcount


async def delete(session: AsyncSession, sha256: str) -> UUID:
    """The row goes; whose object is to go after it. Raises NotFound; Conflict while something needs it."""
    try:
        gone = (await session.execute(DELETE, {"sha256": sha256})).scalar_one_or_none()
    except IntegrityError:
        raise Conflict("something needs this blob", code="BLOB_IN_USE") from None
    if gone is None:
        raise blob_not_found()
    return UUID(str(gone))


async def forget_unreferred(database: Database, grace_s: float) -> list[tuple[UUID, UUID]]:
    """Organization and object of each row that went. None where something began to need one of them at that moment, in a
    transaction that was older than the grace time: the key between the tables keeps all.
    """
    try:
        async with database.system() as session:
            rows = await session.execute(FORGET, {"grace_s": grace_s, "most": FORGOTTEN_AT_ONCE})
            return [(row.blob_organization_id, row.blob_object_id) for row in rows]
    except IntegrityError:
        return []


async def known(session: AsyncSession, objects: Collection[UUID]) -> set[UUID]:
    return set((await session.execute(KNOWN, {"ids": list(objects)})).scalars())
