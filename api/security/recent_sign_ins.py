"""Who signed in lately, and from which network.

Asked when attempts or places have run out, thus mostly by a flood: whatever is asked, the database is asked once in 30 s, and
each question takes one look into memory.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from models.repositories.database import Database
from models.repositories.identity import recent_sign_ins
from models.repositories.identity.recent_sign_ins import RecentSignIn

KEPT_S = 30.0
RETRY_S = 2.0
"""After the database could not be asked; until then what was known before is good."""


class RecentSignIns:
    def __init__(
        self, load: Callable[[], Awaitable[Sequence[RecentSignIn]]], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._load = load
        self._now_s = now_s
        self._users: dict[tuple[str, str], UUID] = {}
        self._due_s = now_s()
        self._loading = asyncio.Lock()

    @classmethod
    def of(cls, database: Database) -> "RecentSignIns":
        async def load() -> Sequence[RecentSignIn]:
            async with database.system() as session:
                return await recent_sign_ins.load(session)

        return cls(load)

    async def user_of(self, login: str, network: str) -> UUID | None:
        """The user who signed in from this network lately, by their address or username. Raises ServiceUnavailable."""
        async with self._loading:
            if self._now_s() >= self._due_s:
                self._due_s = self._now_s() + RETRY_S  # who waits for a load that fails does not repeat it
                found = await self._load()
                # as at sign-in, an address wins over a username that looks like it
                self._users = {(each.username, each.network): each.user_id for each in found}
                self._users |= {(each.email, each.network): each.user_id for each in found}
                self._due_s = self._now_s() + KEPT_S
        return self._users.get((login, network))
