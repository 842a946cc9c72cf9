"""What a start waits for, said while it waits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

TELL_AFTER_S = 10.0


@asynccontextmanager
async def told_when_slow(name: str, say: Callable[[str], None], last_words: Callable[[], str]) -> AsyncIterator[None]:
    """Says once, in one line, what is still not done inside the block after `TELL_AFTER_S`, and what its log ends with."""
    telling = asyncio.create_task(_tell(name, say, last_words))
    try:
        yield
    finally:
        telling.cancel()


async def _tell(name: str, say: Callable[[str], None], last_words: Callable[[], str]) -> None:
    await asyncio.sleep(TELL_AFTER_S)
    say(f"waiting for {name}, since {TELL_AFTER_S:g} s: {await asyncio.to_thread(last_words)}")
