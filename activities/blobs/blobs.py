"""Keeping bytes of an organization: put by whoever has them, needed by resources, read as they were (docs/decisions/0090)."""

import asyncio
import hashlib
import logging
import re
import tempfile
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Final
from uuid import UUID

from activities.blobs.store import BlobStore
from models.base.errors import AppError, PayloadTooLarge, ServiceUnavailable
from models.base.ids import new_id
from models.repositories import blobs
from models.repositories.blobs import Kept, blob_not_found
from models.repositories.database import Database

logger = logging.getLogger(__name__)

IN_MEMORY_BYTES: Final = 1 << 20
"""Of one upload; a larger one goes through a file without a name."""
SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Stored:
    """What a put has kept. It stays for the grace time; whatever needs it longer says so by `models.repositories.blobs.refer`."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Content:
    """`chunks` raises BlobDamaged at its end where the bytes are not what was put, ServiceUnavailable where the store fails."""

    size_bytes: int
    chunks: AsyncIterator[bytes]


class BlobLost(AppError):
    """There is a row and no object: somebody removed it from the store, or an older copy of the store was put in place."""

    code = "BLOB_LOST"


class BlobDamaged(AppError):
    """The bytes are not those whose hash the row has."""

    code = "BLOB_DAMAGED"


class Blobs:
    """Of every organization, each of which has its own: equal bytes of two are two objects, and nobody learns of the other's."""

    def __init__(self, store: BlobStore, database: Database, *, limit_bytes: int) -> None:
        self._store, self._database, self._limit_bytes = store, database, limit_bytes
        self._installation_id: UUID | None = None

    async def put(
        self, organization_id: UUID, chunks: AsyncIterable[bytes], *, limit_bytes: int | None = None
    ) -> Stored:
        """Keep the bytes; what is there already is not written again. Raises PayloadTooLarge, ServiceUnavailable, and what
        `chunks` raises: then nothing is kept.
        """
        limit = self._limit_bytes if limit_bytes is None else min(limit_bytes, self._limit_bytes)
        with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as file:
            stored = await _spool(chunks, file, limit)
            async with self._database.tenant(organization_id) as session:
                there = await blobs.touch(session, stored.sha256)
            if there is None or not await self._store.has(await self._key(organization_id, there.object_id)):
                await self._write(organization_id, stored, file, there)
        return stored

    async def get(self, organization_id: UUID, sha256: str) -> Content:
        """The bytes as they were put. Raises NotFound, also for another organization's and for what is no hash; BlobLost."""
        _check(sha256)
        async with self._database.tenant(organization_id) as session:
            found = await blobs.find(session, sha256)
        chunks = await self._store.read(await self._key(organization_id, found.object_id))
        if chunks is None:
            logger.error("blob %s has no object %s in the store", sha256, found.object_id)
            raise BlobLost("the bytes of this blob are lost; putting them again brings it back")
        return Content(found.size_bytes, _verified(chunks, sha256))

    async def delete(self, organization_id: UUID, sha256: str) -> None:
        """At once, instead of after the grace time. Raises NotFound; Conflict while a resource needs it."""
        _check(sha256)
        async with self._database.tenant(organization_id) as session:
            object_id = await blobs.delete(session, sha256)
        await self._store.delete(await self._key(organization_id, object_id))

    async def _write(self, organization_id: UUID, stored: Stored, file: IO[bytes], there: Kept | None) -> None:
        """The object, then the row: a crash in between leaves an object without a row, which a sweep removes."""
        ours = new_id()
        await self._store.put(await self._key(organization_id, ours), file)
        lost = None if there is None else there.object_id
        async with self._database.tenant(organization_id) as session:
            counts = await blobs.keep(session, organization_id, stored.sha256, Kept(ours, stored.size_bytes), lost=lost)
        if counts != ours:
            with suppress(ServiceUnavailable):  # what was put is kept: a sweep removes this
                await self._store.delete(await self._key(organization_id, ours))

    async def _key(self, organization_id: UUID, object_id: UUID) -> str:
        if self._installation_id is None:
            async with self._database.system() as session:
                self._installation_id = await blobs.installation_id(session)
        return object_key(self._installation_id, organization_id, object_id)


def object_key(installation_id: UUID, organization_id: UUID, object_id: UUID) -> str:
    """Made of ids alone: nothing that a caller sends is ever part of a path. Another installation may have the same bucket."""
    return f"{installation_id}/{organization_id}/{object_id}"


def _check(sha256: str) -> None:
    if SHA256.fullmatch(sha256) is None:
        raise blob_not_found()


async def _spool(chunks: AsyncIterable[bytes], file: IO[bytes], limit_bytes: int) -> Stored:
    digest, size_bytes = hashlib.sha256(), 0
    async for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            raise PayloadTooLarge(
                f"this is larger than {limit_bytes} bytes", code="BLOB_TOO_LARGE", details={"limit_bytes": limit_bytes}
            )
        await asyncio.to_thread(_take, chunk, digest, file)
    return Stored(digest.hexdigest(), size_bytes)


def _take(chunk: bytes, digest: "hashlib._Hash", file: IO[bytes]) -> None:
    digest.update(chunk)
    file.write(chunk)


async def _verified(chunks: AsyncIterator[bytes], sha256: str) -> AsyncIterator[bytes]:
    digest = hashlib.sha256()
    async for chunk in chunks:
        await asyncio.to_thread(digest.update, chunk)
        yield chunk
    if digest.hexdigest() != sha256:
        logger.error("blob %s is damaged in the store", sha256)
        raise BlobDamaged("the bytes of this blob are not what was put")
