"""What the chaos tests did, in figures: kills, instances, recoveries, and what a run without a failure is worth."""

import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

FULL = os.environ.get("QUARTERDECK_CHAOS") == "full"
"""Set by `make chaos`. Read when imported: the variables of the shell are hidden from tests later."""

ROUNDS = int(os.environ.get("QUARTERDECK_CHAOS_ROUNDS", "3" if FULL else "1"))


LEAST_PATIENCE_S = 240.0


def patience_s(promised_s: float) -> float:
    """How long to wait for what is promised within `promised_s`: `make chaos` has the machine and judges by the promise; the
    sample in `make test` may run beside anything, and only gives up at some time.
    """
    return promised_s if FULL else max(promised_s, LEAST_PATIENCE_S)


def seconds_since(began: float) -> float:
    """From a moment of `time.monotonic()`, to be told."""
    return time.monotonic() - began


def judge(what: str, took_s: float, promised_s: float) -> None:
    """Fails where it took longer than may be waited for it."""
    assert took_s <= patience_s(promised_s), f"{what} took {took_s:.1f} s"


@dataclass(frozen=True)
class Recovery:
    what: str
    instances: int
    seconds: float


RECOVERIES: list[Recovery] = []


def seeds() -> range:
    """Seed 0 is the fixed one that continuous integration runs."""
    return range(ROUNDS)


def recovered(what: str, instances: int, seconds: float) -> None:
    """A process was killed at `what` with so many instances under way; the last was right again after `seconds`."""
    RECOVERIES.append(Recovery(what, instances, seconds))


BILLED: dict[str, tuple[Decimal, Decimal]] = {}
"""Machine or volume that is over -> what it cost by our ledger, and by the provider's meter."""


def billed(resource: str, ours_eur: Decimal, metered_eur: Decimal) -> None:
    BILLED[resource] = (ours_eur, metered_eur)


def lines() -> Iterator[str]:
    """The figures. n counts what can fail by itself: an instance that went through a kill."""
    if BILLED:
        ours, metered = (sum(amounts, Decimal(0)) for amounts in zip(*BILLED.values(), strict=True))
        yield f"{len(BILLED)} machines and volumes billed: {ours} EUR, {ours - metered} more than by the provider's meter"
    if not RECOVERIES:
        return
    if FULL:
        for one in sorted(RECOVERIES, key=lambda recovery: recovery.what):
            yield f"{one.seconds:6.1f} s  {one.instances:3d} instances  {one.what}"
    times = [one.seconds for one in RECOVERIES]
    n = sum(one.instances for one in RECOVERIES)
    worst = max(RECOVERIES, key=lambda recovery: recovery.seconds)
    yield (
        f"{len(times)} kills, {n} instances: recovered after {statistics.median(times):.1f} s in the median, "
        f"{worst.seconds:.1f} s at worst ({worst.what})"
    )
    yield f"n = {n} without a failure bounds the failure rate at 3/n = {300 / n:.2f} % (95 %)"
