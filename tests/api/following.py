"""Reading server-sent events in tests: one reader per connection, bounded in time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.patience import GIVE_UP_S


@dataclass(frozen=True)
class Seen:
    kind: str
    data: Any
    id: int | None


class Follower:
    """One connection. `next()` gives the next event or comment (kind `:`), None when the stream has ended."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self, timeout_s: float = GIVE_UP_S) -> Seen | None:
        fields: dict[str, str] = {}
        async with asyncio.timeout(timeout_s):
            async for line in self._lines:
                if line.startswith(":"):
                    fields["comment"] = line
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "comment" in fields:
                    return Seen(":", fields["comment"], None)
                else:
                    return Seen(
                        fields["event"], json.loads(fields["data"]), int(fields["id"]) if "id" in fields else None
                    )
        return None

    async def until_end(self, timeout_s: float = GIVE_UP_S) -> list[Seen]:
        found = []
        while (seen := await self.next(timeout_s)) is not None:
            found.append(seen)
        return found


@asynccontextmanager
async def follower(
    url: str, headers: dict[str, str], *, after: int | str | None = None, **params: str
) -> AsyncIterator[Follower]:
    resume = {} if after is None else {"last-event-id": str(after)}
    async with (
        httpx.AsyncClient(trust_env=False) as client,
        client.stream("GET", url, headers={**headers, **resume}, params=params, timeout=GIVE_UP_S) as response,
    ):
        yield Follower(response)
