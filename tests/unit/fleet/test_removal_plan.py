"""What a removal promises, whatever a provider shows, refuses or is late with."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from models.domain.fleet.removal.plan import Ask, Look, Plan, Verdict
from models.domain.fleet.removal.things import STAGES, Record, Shown, Thing, ThingKind

SETTLE_S = 45.0
STEPS = 1_000
"""More than any pass over so few things takes: one that is not over by then never is."""


@dataclass
class Real:
    """A thing at the provider, and how it behaves."""

    shown: Shown
    exists: bool = True
    unlisted_looks: int = 0
    """So many looks do not show it, though it is there: a list may be late."""
    refusals: int = 0
    """So many orders to go are refused."""
    lingers: bool = False
    """Lists show it after its end."""


@dataclass
class Provider:
    """Answers a plan, and notes what it was told to do."""

    things: dict[Thing, Real]
    refused_looks: int = 0
    proven: set[Thing] = field(default_factory=set)
    shown_billed: set[Thing] = field(default_factory=set)
    deleted: list[Thing] = field(default_factory=list)

    def look(self, kind: ThingKind) -> tuple[list[Shown], bool]:
        if kind is not ThingKind.MACHINE and self.refused_looks:
            self.refused_looks -= 1
            return [], False
        shown = []
        for thing, real in self.things.items():
            if thing.kind is kind and (real.exists or real.lingers):
                if real.unlisted_looks:
                    real.unlisted_looks -= 1
                else:
                    shown.append(real.shown)
                    self.shown_billed |= {thing} if real.shown.is_billed else set()
        return shown, True

    def answer(self, ask: Ask) -> bool:
        """Whether it is proven to be gone; a machine takes along what goes with it by itself."""
        real = self.things.get(ask.thing)
        if ask.deletes:
            self.deleted.append(ask.thing)
            if real is not None and real.refusals:
                real.refusals -= 1
                return False
            if real is not None:
                real.exists = False
        is_gone = real is None or not real.exists
        self.proven |= {ask.thing} if is_gone else set()
        return is_gone


def one_pass(plan: Plan, provider: Provider, watched_s: float = 0.0) -> tuple[Plan, Verdict]:
    """The pass, with what must hold at every step of every one."""
    plan = plan.passing(watched_s)
    for _ in range(STEPS):
        step = plan.next()
        if isinstance(step, Verdict):
            return plan, step
        if isinstance(step, Look):
            shown, is_complete = provider.look(step.kind)
            plan = plan.looked(step.kind, shown, is_complete=is_complete)
            continue
        assert step.thing.kind in plan.kinds, "asked about what the provider does not have"
        assert step.thing not in provider.proven, "asked about what is proven to be gone"
        if step.deletes:
            assert not provider.shown_billed - plan.record.recorded - provider.proven, (
                "touched before all was on record"
            )
            assert not earlier_left(plan, provider, step.thing), "a later stage began too early"
        plan = plan.answered(step, is_gone=provider.answer(step))
    raise AssertionError("the pass does not end")


def earlier_left(plan: Plan, provider: Provider, thing: Thing) -> set[Thing]:
    """Whatever is to go before this one and is not proven to be gone."""
    before = [kind for kind in ThingKind if stage_of(kind) < stage_of(thing.kind)]
    doomed = plan.record.doomed | {one for one, shown in plan.seen.items() if shown.is_doomed}
    return {one for one in doomed - provider.proven if one.kind in before}


def stage_of(kind: ThingKind) -> int:
    return next(number for number, kinds in enumerate(STAGES) if kind in kinds)


THINGS = st.builds(Thing, st.sampled_from(ThingKind), st.sampled_from("abc"))


@st.composite
def providers(draw: st.DrawFn) -> Provider:
    found = draw(st.sets(THINGS, max_size=7))
    late = st.integers(0, 2)
    things = {
        thing: Real(
            Shown(
                thing=thing,
                zone=draw(st.sampled_from(["x", "y"])),
                is_billed=draw(st.booleans()),
                is_doomed=thing.kind is ThingKind.MACHINE or draw(st.booleans()),
            ),
            exists=draw(st.booleans()),
            unlisted_looks=draw(late),
            refusals=draw(late),
            lingers=draw(st.booleans()),
        )
        for thing in found
    }
    return Provider(things, refused_looks=draw(late))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    recorded = draw(st.frozensets(THINGS, max_size=5))
    doomed = {thing for thing in recorded if thing.kind is ThingKind.MACHINE or draw(st.booleans())}
    record = Record(
        zone="x",
        recorded=recorded,
        doomed=frozenset(doomed | draw(st.frozensets(THINGS, max_size=2))),
        silent_s=draw(st.none() | st.sampled_from([0.0, SETTLE_S - 1, SETTLE_S])),
    )
    return Plan(record=record, kinds=frozenset(ThingKind), settle_s=SETTLE_S)


def written_down(plan: Plan, things: Iterable[Thing]) -> Plan:
    """The next round, whose owner has put these on record."""
    kept = frozenset(things)
    doomed = frozenset(thing for thing in kept if plan.seen[thing].is_doomed)
    record = replace(plan.record, recorded=plan.record.recorded | kept, doomed=plan.record.doomed | doomed)
    return Plan(record=record, kinds=plan.kinds, settle_s=plan.settle_s)


@given(plans(), providers())
def test_nothing_on_record_is_forgotten(plan: Plan, provider: Provider) -> None:
    _, verdict = one_pass(plan, provider)
    if verdict.is_gone:
        assert plan.record.doomed <= provider.proven


@given(plans(), providers())
def test_what_is_proven_to_be_gone_is_never_asked_about_again(plan: Plan, provider: Provider) -> None:
    for watched_s in (0.0, 1.0, 2.0, 3.0):
        plan, _ = one_pass(plan, provider, watched_s)
    assert plan.gone <= provider.proven


@given(plans(), providers())
def test_what_is_billed_and_not_on_record_stops_a_pass_before_anything_is_touched(
    plan: Plan, provider: Provider
) -> None:
    for real in provider.things.values():
        real.unlisted_looks = 0
    _, verdict = one_pass(plan, provider)
    billed = provider.shown_billed - plan.record.recorded - provider.proven
    assert verdict.off_record == billed
    if any(thing.kind is ThingKind.MACHINE for thing in billed):
        assert provider.deleted == []


@given(plans(), providers())
def test_absence_is_believed_after_the_settle_time_only(plan: Plan, provider: Provider) -> None:
    for watched_s in (0.0, 0.5, 1.0):
        plan, verdict = one_pass(plan, provider, watched_s)
        known = {thing for thing in plan.record.doomed | plan.seen.keys() if thing.kind is ThingKind.MACHINE}
        silent_s = plan.record.silent_s
        if verdict.is_gone and not known:
            assert silent_s is None or silent_s + watched_s >= SETTLE_S
        assert not (verdict.is_unseen and known)


@given(plans(), providers())
def test_every_removal_comes_to_an_end(plan: Plan, provider: Provider) -> None:
    """Whose owner writes down what a round reports, and comes back."""
    for _ in range(20):
        plan, verdict = one_pass(plan, provider, SETTLE_S)
        if verdict.is_gone:
            break
        if verdict.off_record:
            plan = written_down(plan, verdict.off_record)
            provider.proven.clear()
    assert verdict.is_gone
    shown = [real for real in provider.things.values() if not real.unlisted_looks and real.shown.is_doomed]
    assert [real for real in shown if real.exists and real.shown.thing in plan.seen] == []


def test_a_list_that_is_refused_keeps_no_machine_alive_and_is_not_taken_for_empty() -> None:
    machine = Thing(ThingKind.MACHINE, "a")
    shown = Shown(thing=machine, zone="x", is_billed=True)
    provider = Provider({machine: Real(shown)}, refused_looks=100)
    record = Record(zone="x", recorded=frozenset({machine}), doomed=frozenset({machine}))
    kinds = frozenset({ThingKind.MACHINE, ThingKind.VOLUME})
    _, verdict = one_pass(Plan(record=record, kinds=kinds, settle_s=SETTLE_S), provider)
    assert provider.deleted == [machine]
    assert (verdict.is_gone, verdict.left) == (False, {ThingKind.VOLUME: 1})


def test_a_volume_on_record_where_the_provider_has_none_holds_nothing_up() -> None:
    machine, volume = Thing(ThingKind.MACHINE, "a"), Thing(ThingKind.VOLUME, "b")
    provider = Provider({machine: Real(Shown(thing=machine, zone="x", is_billed=True))})
    record = Record(zone="x", recorded=frozenset({machine, volume}), doomed=frozenset({machine, volume}))
    _, verdict = one_pass(Plan(record=record, kinds=frozenset({ThingKind.MACHINE}), settle_s=SETTLE_S), provider)
    assert (verdict.is_gone, provider.deleted) == (True, [machine])


def test_a_volume_to_be_kept_is_left_alone() -> None:
    volume = Thing(ThingKind.VOLUME, "a")
    provider = Provider({volume: Real(Shown(thing=volume, zone="x", is_billed=True, is_doomed=False))})
    record = Record(zone="x", recorded=frozenset({volume}))
    _, verdict = one_pass(Plan(record=record, kinds=frozenset(ThingKind), settle_s=SETTLE_S), provider)
    assert (verdict.is_gone, provider.deleted, provider.proven) == (True, [], set())
