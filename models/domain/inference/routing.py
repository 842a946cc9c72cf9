"""Where a request can go, and which of these places takes it (contract/fleet.md 6.2, contract decisions 9 and 13)."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from uuid import UUID

from models.domain.inference.capabilities import UNKNOWN, Capabilities, common

LONGEST_QUEUE = 2**31
"""Stands for a queue that no heartbeat has told of yet: such an instance comes after those that are known."""


@dataclass(frozen=True, slots=True)
class Route:
    """A ready instance as last read. `fresh_until_s` is on this process's monotonic clock: later its agent counts as silent."""

    instance_id: UUID
    organization_id: UUID
    generation: int
    model_id: str
    url: str
    authorization: str
    queue_depth: int
    fresh_until_s: float
    capabilities: Capabilities = UNKNOWN

    def __repr__(self) -> str:
        return f"Route({self.instance_id}, {self.url})"


class RoutingTable:
    """All routes at one moment, found by organization and model."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._routes: dict[tuple[UUID, str], list[Route]] = {}
        self.instance_ids: set[UUID] = set()
        for route in routes:
            self._routes.setdefault((route.organization_id, route.model_id), []).append(route)
            self.instance_ids.add(route.instance_id)

    def candidates(self, organization_id: UUID, model_id: str, now_s: float) -> list[Route]:
        """The organization's instances that serve this model and whose agent was heard of lately."""
        return [route for route in self._routes.get((organization_id, model_id), ()) if route.fresh_until_s > now_s]

    def models(self, organization_id: UUID, now_s: float) -> dict[str, Capabilities]:
        """The models that are ready, by name, and what they can do on all of their instances."""
        ready: dict[str, Capabilities] = {}
        for (owner, model_id), routes in self._routes.items():
            fresh = [route.capabilities for route in routes if route.fresh_until_s > now_s]
            if owner == organization_id and fresh:
                ready[model_id] = common(fresh)
        return dict(sorted(ready.items()))

    def capabilities(self, organization_id: UUID, model_id: str, now_s: float) -> Capabilities:
        return common(route.capabilities for route in self.candidates(organization_id, model_id, now_s))


class Outstanding:
    """Requests of this process that each instance is answering, and when each was last chosen."""

    def __init__(self) -> None:
        self._requests: dict[UUID, int] = {}
        self._turns: dict[UUID, int] = {}
        self._turn = 0

    @property
    def total(self) -> int:
        return sum(self._requests.values())

    def begin(self, instance_id: UUID) -> None:
        self._turn += 1
        self._turns[instance_id] = self._turn
        self._requests[instance_id] = self._requests.get(instance_id, 0) + 1

    def end(self, instance_id: UUID) -> None:
        left = self._requests[instance_id] - 1
        if left:
            self._requests[instance_id] = left
        else:
            del self._requests[instance_id]

    def forget_all_but(self, instance_ids: Collection[UUID]) -> None:
        """Drop the turns of instances that are gone, so that years of instances cost no memory."""
        self._turns = {instance_id: turn for instance_id, turn in self._turns.items() if instance_id in instance_ids}

    def rank(self, route: Route) -> tuple[int, int, int]:
        """Lowest first: least outstanding requests, then shortest queue, then the one that has waited longest for a turn."""
        instance_id = route.instance_id
        return (self._requests.get(instance_id, 0), route.queue_depth, self._turns.get(instance_id, 0))


def choose(
    candidates: Sequence[Route], outstanding: Outstanding, *, session: str | None = None, tried: Collection[UUID] = ()
) -> Route | None:
    """The place for a request, or None when none is left.

    With `session` the choice is by rendezvous hash: it stays while the chosen instance stays a candidate, whichever others come
    and go. `tried` are the instances that this request has already failed on.
    """
    left = [route for route in candidates if route.instance_id not in tried] if tried else candidates
    if not left:
        return None
    if len(left) == 1:
        return left[0]
    if session is not None:
        key = session.encode()
        return max(left, key=lambda route: _affinity(key, route.instance_id))
    return min(left, key=outstanding.rank)


def _affinity(session: bytes, instance_id: UUID) -> bytes:
    return blake2b(session, digest_size=8, key=instance_id.bytes).digest()
