"""Removing blobs that nothing needs, and objects that no row names: what was let go, and what a crash left behind."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from activities.blobs.blobs import object_key
from activities.blobs.store import BlobStore, Listed
from models.repositories import blobs
from models.repositories.database import Database
from models.repositories.transaction_time import began_at

EVERY_S: Final = 3_600.0
"""The store is listed as often: what is too many costs some cents until then."""

AGAIN_AFTER_S: Final = 300.0
"""After a failure: of a store that is away, a sweep learns by the time limits of a call."""

PART_S: Final = 3.0
"""What one sweep gives it. The next one goes on where it stopped."""


class BlobSweep:
    """A step of every sweep, which does nothing most of the time, and never much."""

    def __init__(
        self, store: BlobStore, database: Database, *, grace_s: float, every_s: float = EVERY_S, part_s: float = PART_S
    ) -> None:
        self._store, self._database = store, database
        self._grace_s, self._every_s, self._part_s = grace_s, every_s, part_s
        self._next_at_s = 0.0
        self._work: AsyncGenerator[int] | None = None
        """What the sweep before did not come to the end of."""

    async def remove(self) -> int:
        """How many objects were removed, in about `part_s`. Raises ServiceUnavailable, and tries again after AGAIN_AFTER_S."""
        began_s = time.monotonic()
        if began_s < self._next_at_s or not self._store.may_have_objects:
            return 0
        self._next_at_s = began_s + AGAIN_AFTER_S  # first: what fails, or is under way, is not the next sweep's
        work, self._work = self._work or self._removals(), None
        removed = 0
        async for count in work:
            removed += count
            if time.monotonic() >= began_s + self._part_s:
                self._next_at_s, self._work = 0.0, work
                return removed
        self._next_at_s = time.monotonic() + self._every_s
        return removed

    async def _removals(self) -> AsyncGenerator[int]:
        """How many, some at a time: of those that nothing needs, then of those that no row names."""
        async with self._database.system() as session:
            installation_id = await blobs.installation_id(session)
        while True:
            count = await self._remove_unneeded(installation_id)
            yield count
            if count < blobs.FORGOTTEN_AT_ONCE:
                break
        async for page in self._store.listed(str(installation_id)):
            yield await self._remove_unknown(installation_id, page)

    async def _remove_unneeded(self, installation_id: UUID) -> int:
        """FORGOTTEN_AT_ONCE at most. A crash between rows and objects leaves objects that no row names."""
        gone = await blobs.forget_unreferred(self._database, self._grace_s)
        await self._delete([object_key(installation_id, *ids) for ids in gone])
        return len(gone)

    async def _remove_unknown(self, installation_id: UUID, page: Sequence[Listed]) -> int:
        """Objects of this installation that are old enough to have a row, and have none: a crash between the two leaves such.
        What bears no key of ours stays.
        """
        objects = {object_id: one for one in page if (object_id := _object_of(one, installation_id)) is not None}
        if not objects:
            return 0
        async with self._database.system() as session:
            known = await blobs.known(session, objects)
            now = await began_at(session)
        old = _old([one for object_id, one in objects.items() if object_id not in known], now, self._grace_s)
        await self._delete([one.key for one in old])
        return len(old)

    async def _delete(self, keys: Sequence[str]) -> None:
        """As many at once as the store takes calls."""
        await asyncio.gather(*map(self._store.delete, keys))


def _object_of(listed: Listed, installation_id: UUID) -> UUID | None:
    parts = listed.key.split("/")
    try:
        organization_id, object_id = (UUID(part) for part in parts[-2:])
    except ValueError:
        return None
    return object_id if listed.key == object_key(installation_id, organization_id, object_id) else None


def _old(listed: Sequence[Listed], now: datetime, grace_s: float) -> list[Listed]:
    """By the store's clock against the database's: the grace time is longer than clocks differ."""
    return [one for one in listed if one.modified_at < now - timedelta(seconds=grace_s)]
