"""How often an agent may come up anew: each boot wakes its instance's owner, and is kept for good in its history."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from models.base.errors import RateLimited

MOST_BOOTS = 10
WINDOW_S = 60.0
REMEMBERED = 10_000
"""Most agents of which boots are remembered; the one that booted longest ago is forgotten first."""


@dataclass(slots=True)
class _Boots:
    last: str | None = None
    at_s: deque[float] = field(default_factory=deque)


class BootLimits:
    """In memory and per process. What is refused or fails counts in no window: a stranger uses up nobody's boots."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._agents: OrderedDict[UUID, _Boots] = OrderedDict()

    @contextmanager
    def counted(self, instance_id: UUID, boot_id: str | None) -> Iterator[None]:
        """Around what an agent reports of this boot. Raises RateLimited for an eleventh within a minute, on entering."""
        boots = self._agents.get(instance_id)
        if boot_id is None or (boots is not None and boots.last == boot_id):
            yield
            return
        boots = self._begin(instance_id, boots)
        began_s, before = boots.at_s[-1], boots.last
        boots.last = boot_id
        try:
            yield
        except BaseException:
            if began_s in boots.at_s:
                boots.at_s.remove(began_s)
            if boots.last == boot_id:
                boots.last = before
            raise

    def _begin(self, instance_id: UUID, boots: _Boots | None) -> _Boots:
        now_s = self._now_s()
        if boots is None:
            boots = self._agents[instance_id] = _Boots()
        while boots.at_s and now_s - boots.at_s[0] >= WINDOW_S:
            boots.at_s.popleft()
        if len(boots.at_s) >= MOST_BOOTS:
            raise RateLimited(
                f"this agent came up {MOST_BOOTS} times within a minute; start it less often, and keep its boot id while it runs",
                code="BOOT_LIMIT",
                retry_after_s=boots.at_s[0] + WINDOW_S - now_s,
            )
        boots.at_s.append(now_s)
        self._agents.move_to_end(instance_id)
        if len(self._agents) > REMEMBERED:
            self._agents.popitem(last=False)
        return boots
