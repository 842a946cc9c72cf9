"""Who uses how many of a limited number of places: no family of features has all of them, and no organization."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Whose:
    """Of which family and organization a use is. Without a family, or an organization, it has no bound of one."""

    family: str | None = None
    organization_id: UUID | None = None


class Shares:
    """`size` places.

    A family has four fifths at most of the places that other families leave it, rounded down, and one in any case. Of ten these
    are eight for one that is alone; while it has them one for a second, and then one for a third: however much of two families
    hangs, the others have a place. The more the others use, the less one may begin; what it has begun it keeps.

    Of those of its family, and of all, an organization leaves `spared` places to other organizations, and has one in any case.
    """

    def __init__(self, size: int, wait_s: float, refusal: Callable[[], Exception], *, spared: int = 0) -> None:
        self._size, self._wait_s, self._refusal, self._spared = size, wait_s, refusal, spared
        self._of_family: Counter[str | None] = Counter()
        self._of_organization: Counter[UUID | None] = Counter()
        self._used: Counter[Whose] = Counter()
        self._waiting: dict[asyncio.Future[None], Whose] = {}
        """Longest first. None of them may have a place as it is: each place that is given back is given at once."""

    @property
    def users(self) -> int:
        """Those that wait included."""
        return self._of_family.total() + len(self._waiting)

    def most_of(self, family: str | None) -> int:
        """Places that the family may have now."""
        left = self._size - (self._of_family.total() - self._of_family[family])
        return self._size if family is None else max(1, left * 4 // 5)

    @asynccontextmanager
    async def one(self, whose: Whose) -> AsyncIterator[None]:
        """A place inside the block. Raises `refusal()` when none of theirs becomes free in time."""
        if self._may(whose):
            self._take(whose)
        else:
            await self._wait(whose)
        try:
            yield
        finally:
            self._give_back(whose)

    async def _wait(self, whose: Whose) -> None:
        """Until the place is taken."""
        given = asyncio.get_running_loop().create_future()
        self._waiting[given] = whose
        try:
            async with asyncio.timeout(self._wait_s):
                await given
        except BaseException as error:
            if self._waiting.pop(given, None) is None:  # it was given in the moment in which the wait ended
                self._give_back(whose)
            if isinstance(error, TimeoutError):
                raise self._refusal() from error
            raise

    def _may(self, whose: Whose) -> bool:
        most = self.most_of(whose.family)
        if whose.family is not None and self._of_family[whose.family] >= most:
            return False
        if whose.organization_id is None:
            return True
        of_all, of_familys = (max(1, places - self._spared) for places in (self._size, most))
        return self._of_organization[whose.organization_id] < of_all and self._used[whose] < of_familys

    def _take(self, whose: Whose) -> None:
        self._of_family[whose.family] += 1
        self._of_organization[whose.organization_id] += 1
        self._used[whose] += 1

    def _give_back(self, whose: Whose) -> None:
        _lower(self._of_family, whose.family)
        _lower(self._of_organization, whose.organization_id)
        _lower(self._used, whose)
        refused: set[Whose] = set()
        for given, waiting in list(self._waiting.items()):
            if waiting in refused or given.done():  # done: whoever waited was cancelled a moment ago
                continue
            if not self._may(waiting):
                refused.add(waiting)
                continue
            del self._waiting[given]
            self._take(waiting)
            given.set_result(None)


def _lower(counts: Counter[Key], key: Key) -> None:
    """Keys that count nothing are not kept."""
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
