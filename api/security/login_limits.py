"""How often somebody may try a password (contract decision 21: 20 a minute and 200 an hour per address).

In memory and per process: it slows guessing down, and the cost of the password hash does the rest. Why there is a reserve:
docs/decisions/0040-sign-in-under-attack.md.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from api.http.addresses import site_of
from models.base.errors import RateLimited

REMEMBERED = 10_000
"""Most subjects that are counted; the one not seen for longest is forgotten first."""

Subject = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rate:
    attempts: int
    per_s: float


Rates = tuple[Rate, ...]
PER_ADDRESS: Rates = (Rate(20, 60.0), Rate(200, 3600.0))
PER_ADDRESS_AND_LOGIN: Rates = (Rate(5, 60.0), Rate(30, 3600.0))
RESERVED: Rates = (Rate(5, 60.0), Rate(30, 3600.0))


class LoginLimits:
    """Token buckets per address, and per address and login; and a reserve per person and network, for who signed in from there
    lately. Every attempt counts before its password is looked at, so that attempts made at the same time do not slip through; a
    success clears the pair that it came by.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._callers = _Buckets(now_s)
        # apart: strangers bring ever new subjects to the one, and would make it forget; the other knows none but real people
        self._reserve = _Buckets(now_s)

    def attempt(self, address: str, login: str) -> None:
        """Count one attempt. Raises RateLimited, which counts nothing."""
        site = site_of(address)
        self._callers.take({(site,): PER_ADDRESS, (site, login): PER_ADDRESS_AND_LOGIN})

    def succeeded(self, address: str, login: str) -> None:
        self._callers.clear((site_of(address), login))

    def attempt_reserved(self, user_id: UUID, network: str) -> None:
        """Count one attempt of the reserve. Raises RateLimited, which counts nothing."""
        self._reserve.take({(str(user_id), network): RESERVED})

    def succeeded_reserved(self, user_id: UUID, network: str) -> None:
        self._reserve.clear((str(user_id), network))


class _Buckets:
    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._debts: OrderedDict[Subject, list[tuple[float, float]]] = OrderedDict()

    def take(self, subjects: dict[Subject, Rates]) -> None:
        wait_s = max(self._wait_s(subject, rates) for subject, rates in subjects.items())
        if wait_s > 0:
            raise RateLimited(
                "too many sign-in attempts; wait, then try again", code="LOGIN_LIMIT", retry_after_s=wait_s
            )
        for subject, rates in subjects.items():
            self._count(subject, rates)

    def clear(self, subject: Subject) -> None:
        self._debts.pop(subject, None)

    def __len__(self) -> int:
        return len(self._debts)

    def _wait_s(self, subject: Subject, rates: Rates) -> float:
        """Seconds until one more attempt fits every rate."""
        levels = self._levels(subject, rates)
        return max(
            (level + 1 - rate.attempts) * rate.per_s / rate.attempts for level, rate in zip(levels, rates, strict=True)
        )

    def _count(self, subject: Subject, rates: Rates) -> None:
        now_s = self._now_s()
        self._debts[subject] = [(level + 1, now_s) for level in self._levels(subject, rates)]
        self._debts.move_to_end(subject)
        if len(self._debts) > REMEMBERED:
            self._debts.popitem(last=False)

    def _levels(self, subject: Subject, rates: Rates) -> list[float]:
        """How full each bucket is: what was counted less what has leaked since."""
        now_s = self._now_s()
        counted = self._debts.get(subject) or [(0.0, now_s)] * len(rates)
        return [
            max(0.0, level - (now_s - at_s) * rate.attempts / rate.per_s)
            for (level, at_s), rate in zip(counted, rates, strict=True)
        ]
