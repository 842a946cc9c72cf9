"""How whatever an instance has at a provider is removed: what to look at, what to delete, when it may be called gone. Pure.

A pass looks at everything, stops where something billed is not on record, then goes through the stages: each thing is deleted and
its end asked for, and a stage begins with another look, since much went with the stage before. A round is passes until nothing is
left or its time is over; what it has seen and what is proven to be gone goes from pass to pass.

A plan is immutable: each answer of the provider makes the next one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from models.domain.fleet.removal.things import STAGES, Record, Shown, Thing, ThingKind


@dataclass(frozen=True)
class Look:
    """List the things of this kind."""

    kind: ThingKind


@dataclass(frozen=True)
class Ask:
    """Ask for the proof that the thing is gone, `deletes` after ordering its end."""

    thing: Thing
    zone: str
    deletes: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How far a pass came. Nothing left and nothing off the record: gone, verified."""

    left: Mapping[ThingKind, int]
    """Of the first stage that is not over: how many of each kind; one at least where it could not be listed."""
    off_record: frozenset[Thing] = frozenset()
    """Billed, and not written down: nothing was touched."""
    is_unseen: bool = False
    """Nothing was found, and what a create that was under way may make could still show up."""

    @property
    def is_gone(self) -> bool:
        return not self.off_record and not self.is_unseen and not any(self.left.values())


Step = Look | Ask | Verdict


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`kinds` are those that the provider has; `settle_s` is for how long after the last create nothing found means nothing."""

    record: Record
    kinds: frozenset[ThingKind]
    settle_s: float
    watched_s: float = 0.0
    """How long the round has lasted: it adds to the record's silence."""
    seen: Mapping[Thing, Shown] = field(default_factory=dict)
    gone: frozenset[Thing] = frozenset()
    listed: frozenset[Thing] = frozenset()
    """What the last look at its kind showed."""
    unlisted: frozenset[ThingKind] = frozenset()
    """Kinds of which the last look was refused."""
    to_look: tuple[ThingKind, ...] = ()
    asked: frozenset[Thing] = frozenset()
    """In this pass."""
    stage: int = 0

    def passing(self, watched_s: float) -> "Plan":
        """At the beginning of a pass, so long after the round began."""
        every = tuple(kind for stage in STAGES for kind in stage if kind in self.kinds)
        return replace(self, watched_s=watched_s, stage=0, to_look=every, asked=frozenset())

    def next(self) -> Step:
        """What to do now. After a Verdict the pass is over."""
        if self.to_look:
            return Look(self.to_look[0])
        off_record = self._off_record()
        if doubtful := sorted(off_record - self.asked):
            return Ask(doubtful[0], self._zone(doubtful[0]), deletes=False)  # a list may still show what has ended
        if off_record:
            return Verdict(left=Counter(thing.kind for thing in off_record), off_record=off_record)
        if waiting := sorted(self._left() - self.asked):
            is_asked_to_go = waiting[0].kind is ThingKind.MACHINE or waiting[0] in self.listed
            return Ask(waiting[0], self._zone(waiting[0]), deletes=is_asked_to_go)
        return self._verdict()

    def looked(self, kind: ThingKind, shown: Iterable[Shown], *, is_complete: bool = True) -> "Plan":
        """After a look at this kind: what was shown; not complete where the list was refused, or a part of it."""
        found = {one.thing: one for one in shown}
        others = frozenset(thing for thing in self.listed if thing.kind is not kind)
        plan = replace(
            self,
            to_look=tuple(one for one in self.to_look if one is not kind),
            seen={**self.seen, **found},
            listed=others | found.keys(),
            unlisted=self.unlisted - {kind} if is_complete else self.unlisted | {kind},
        )
        return plan.advanced()

    def answered(self, ask: Ask, *, is_gone: bool) -> "Plan":
        """After the question: proof, or none (yet, or it was refused)."""
        gone = self.gone | {ask.thing} if is_gone else self.gone
        return replace(self, asked=self.asked | {ask.thing}, gone=gone).advanced()

    def advanced(self) -> "Plan":
        """At the next stage, with a look before it, once nothing holds up this one."""
        if self.to_look or self._is_held_up() or self.stage + 1 == len(STAGES):
            return self
        kinds = tuple(kind for kind in STAGES[self.stage + 1] if kind in self.kinds)
        return replace(self, stage=self.stage + 1, to_look=kinds).advanced()

    def _is_held_up(self) -> bool:
        return bool(self._off_record() or self._left() or self._unlisted()) or self._is_unseen()

    def _off_record(self) -> frozenset[Thing]:
        billed = {thing for thing in self.listed if self.seen[thing].is_billed}
        return frozenset(billed - self.record.recorded - self.gone)

    def _left(self) -> frozenset[Thing]:
        """Of this stage, whatever goes with the instance and is not proven to be gone. A kind that the provider does not have can
        neither be asked for nor proven, and there is none of it.
        """
        doomed = self.record.doomed | {thing for thing, one in self.seen.items() if one.is_doomed}
        kinds = self.kinds.intersection(STAGES[self.stage])
        return frozenset(thing for thing in doomed - self.gone if thing.kind in kinds)

    def _unlisted(self) -> frozenset[ThingKind]:
        return self.unlisted.intersection(STAGES[self.stage])

    def _is_unseen(self) -> bool:
        known = [*self.record.doomed, *self.seen]
        if any(thing.kind is ThingKind.MACHINE for thing in known) or self.record.silent_s is None:
            return False
        return self.record.silent_s + self.watched_s < self.settle_s

    def _zone(self, thing: Thing) -> str:
        return self.seen[thing].zone if thing in self.seen else self.record.zone

    def _verdict(self) -> Verdict:
        left = Counter(thing.kind for thing in self._left())
        if self._is_unseen():
            return Verdict(left={ThingKind.MACHINE: 1}, is_unseen=True)
        return Verdict(left={**dict.fromkeys(self._unlisted(), 1), **left})
