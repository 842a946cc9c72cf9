"""How often somebody may try a password (contract decision 21: 20 a minute and 200 an hour per address).

In memory and per process: it slows guessing down, and the cost of the password hash does the rest.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from models.base.errors import RateLimited

IPV6_SITE_BITS = 64
"""One subscriber holds a /64: each address of it is the same caller."""
REMEMBERED = 10_000
"""Most subjects that are counted; the one not seen for longest is forgotten first."""


@dataclass(frozen=True, slots=True)
class Rate:
    attempts: int
    per_s: float


PER_ADDRESS = (Rate(20, 60.0), Rate(200, 3600.0))
PER_ADDRESS_AND_LOGIN = (Rate(5, 60.0), Rate(30, 3600.0))


class LoginLimits:
    """Token buckets per address, and per address and login. Every attempt counts before its password is looked at, so that
    attempts made at the same time do not slip through; a success clears the pair.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._debts: OrderedDict[tuple[str, ...], list[tuple[float, float]]] = OrderedDict()

    def attempt(self, address: str, login: str) -> None:
        """Count one attempt. Raises RateLimited, which counts nothing."""
        site = _site(address)
        subjects = {("address", site): PER_ADDRESS, ("pair", site, login): PER_ADDRESS_AND_LOGIN}
        wait_s = max(self._wait_s(subject, rates) for subject, rates in subjects.items())
        if wait_s > 0:
            raise RateLimited(
                "too many sign-in attempts; wait, then try again", code="LOGIN_LIMIT", retry_after_s=wait_s
            )
        for subject, rates in subjects.items():
            self._count(subject, rates)

    def succeeded(self, address: str, login: str) -> None:
        self._debts.pop(("pair", _site(address), login), None)

    def _wait_s(self, subject: tuple[str, ...], rates: tuple[Rate, ...]) -> float:
        """Seconds until one more attempt fits every rate."""
        levels = self._levels(subject, rates)
        return max(
            (level + 1 - rate.attempts) * rate.per_s / rate.attempts for level, rate in zip(levels, rates, strict=True)
        )

    def _count(self, subject: tuple[str, ...], rates: tuple[Rate, ...]) -> None:
        now_s = self._now_s()
        self._debts[subject] = [(level + 1, now_s) for level in self._levels(subject, rates)]
        self._debts.move_to_end(subject)
        if len(self._debts) > REMEMBERED:
            self._debts.popitem(last=False)

    def _levels(self, subject: tuple[str, ...], rates: tuple[Rate, ...]) -> list[float]:
        """How full each bucket is: what was counted less what has leaked since."""
        now_s = self._now_s()
        counted = self._debts.get(subject) or [(0.0, now_s)] * len(rates)
        return [
            max(0.0, level - (now_s - at_s) * rate.attempts / rate.per_s)
            for (level, at_s), rate in zip(counted, rates, strict=True)
        ]


def _site(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, IPV6_SITE_BITS), strict=False))
    return str(parsed)
