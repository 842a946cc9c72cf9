import asyncio
from collections.abc import Callable
from typing import TypeVar

from tests.patience import GIVE_UP_S

Seen = TypeVar("Seen")


async def until(look: Callable[[], Seen], patience_s: float = GIVE_UP_S) -> Seen:
    """The first answer that is true. Fails when there is none in time."""
    deadline = asyncio.get_running_loop().time() + patience_s
    while not (seen := look()):
        assert asyncio.get_running_loop().time() < deadline, f"nothing within {patience_s} s"
        await asyncio.sleep(0.02)
    return seen
