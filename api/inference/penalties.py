"""Instances that could not be reached lately: passed over while there are others.

A dead instance has no request outstanding: the choice by load would take it first, every time, until its agent counts as silent.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from uuid import UUID

from models.domain.inference.routing import Route

FIRST_PENALTY_S = 2.0
LONGEST_PENALTY_S = 30.0


@dataclass(slots=True)
class Penalty:
    since_s: float
    length_s: float

    @property
    def until_s(self) -> float:
        return self.since_s + self.length_s


class Penalties:
    """What this process has found out by calling. Times are on its monotonic clock, in seconds.

    A call says something new about an instance only if it began after the last failure was known: of fifty that break at once one
    counts, and an old stream that comes to its end does not prove that the server still takes new ones.
    """

    def __init__(self) -> None:
        self._penalties: dict[UUID, Penalty] = {}

    def failed(self, instance_id: UUID, began_s: float, now_s: float) -> None:
        """Pass over the instance for 2 s from now; after each further failure for twice as long as before, at most 30 s."""
        penalty = self._penalties.get(instance_id)
        if penalty is None:
            self._penalties[instance_id] = Penalty(now_s, FIRST_PENALTY_S)
        elif began_s >= penalty.since_s:
            penalty.since_s, penalty.length_s = now_s, min(2 * penalty.length_s, LONGEST_PENALTY_S)

    def answered(self, instance_id: UUID, began_s: float) -> None:
        penalty = self._penalties.get(instance_id)
        if penalty is not None and began_s >= penalty.since_s:
            del self._penalties[instance_id]

    def forget_all_but(self, instance_ids: Collection[UUID]) -> None:
        """Drop the penalties of instances that are gone, so that years of instances cost no memory."""
        self._penalties = {
            instance_id: penalty for instance_id, penalty in self._penalties.items() if instance_id in instance_ids
        }

    def sound(self, candidates: Iterable[Route], now_s: float) -> list[Route]:
        """Those that serve no penalty: they never failed, have answered since, or may show again what they can."""
        return [route for route in candidates if not self._is_penalised(route.instance_id, now_s)]

    def unsuspected(self, candidates: Iterable[Route]) -> list[Route]:
        """Those whose last call was answered: for a request that has already failed once, and may not fail again to find out."""
        return [route for route in candidates if route.instance_id not in self._penalties]

    def __bool__(self) -> bool:
        return bool(self._penalties)

    def _is_penalised(self, instance_id: UUID, now_s: float) -> bool:
        penalty = self._penalties.get(instance_id)
        return penalty is not None and now_s < penalty.until_s
