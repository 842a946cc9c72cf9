"""How many event streams one principal follows at a time."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from models.base.errors import RateLimited
from models.domain.identity.principal import Principal

RETRY_AFTER_S = 5.0


class StreamSlots:
    """In memory and per process: each stream costs this process a task and a look at the database per event."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()

    @contextmanager
    def slot(self, principal: Principal) -> Iterator[None]:
        """One stream, while entered. Raises RateLimited on entering."""
        name = principal.name
        if self._taken[name] >= self._most:
            raise RateLimited(
                f"more than {self._most} event streams are open with these credentials; close one first",
                code="STREAM_LIMIT",
                details={"most_streams": self._most},
                retry_after_s=RETRY_AFTER_S,
            )
        self._taken[name] += 1
        try:
            yield
        finally:
            self._taken[name] -= 1
            if not self._taken[name]:
                del self._taken[name]
