"""What hangs on a credential for longer than a request is told when that is good no more (contract decision 6: within 1 s)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from models.base.errors import AppError

CHECK_S = 0.5
"""How late an end by the clock is noticed, or that nothing can be known any more; a revocation comes as it is heard."""
SPACING_S = 0.1
"""Least time between two looks: when many sign in, there is a change with each of them."""

Ended = Callable[[AppError], None]


class CredentialWatch:
    """Asks `lost(token_hash)` of everything that is watched, whenever something may have changed: what is wrong, or None."""

    def __init__(self, lost: Callable[[str], AppError | None]) -> None:
        self._lost = lost
        self._watched: dict[str, list[Ended]] = {}

    @contextmanager
    def watched(self, token_hash: str, ended: Ended) -> Iterator[None]:
        """`ended` is called, perhaps more than once, as soon as the token is not good any more; at once if it is not now."""
        self._watched.setdefault(token_hash, []).append(ended)
        try:
            error = self._lost(token_hash)
            if error is not None:
                ended(error)
            yield
        finally:
            others = self._watched[token_hash]
            others.remove(ended)
            if not others:
                del self._watched[token_hash]

    def look(self) -> None:
        """A look costs a microsecond for each token."""
        for token_hash, all_ended in list(self._watched.items()):
            error = self._lost(token_hash)
            if error is not None:
                for ended in list(all_ended):
                    ended(error)

    async def run(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Never ends."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S):
                    await changed()
            self.look()
            await asyncio.sleep(SPACING_S)
