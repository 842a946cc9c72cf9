"""How long a connection may be waited for, and how many of them one caller may hold."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from api.http.addresses import proxies, site_of
from api.http.errors import Failure
from models.settings import Settings

OTHER_FILES = 128
"""Files that are kept for what is not a caller's connection: the database, the journal, logs, listening sockets."""
FILES_PER_CONNECTION = 2
"""A request to a model has a connection on either side of this process."""
FEWEST = 64
LINGERING = 64
"""Most callers at a time that are told that they have too many connections; the others are cut off without a word."""

TOO_MANY = Failure(
    429,
    "CONNECTION_LIMIT",
    "this address has too many connections to this process; close some, or use those there are for further requests",
    headers={"retry-after": "5"},
)
FULL = Failure(
    503, "SERVICE_UNAVAILABLE", "this process has as many connections as it can hold", headers={"retry-after": "5"}
)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: for a head, from the connection or from its first byte; between two pieces of a body."""

    head_s: float = 10.0
    body_s: float = 30.0


class Connections:
    """The open connections of one process, by the site that they come from. A trusted proxy's are those of many callers."""

    def __init__(
        self,
        patience: Patience,
        *,
        per_site: int,
        in_all: int,
        is_proxy: Callable[[str], bool] = lambda _address: False,
    ) -> None:
        self.patience = patience
        self._per_site = per_site
        self._in_all = in_all
        self._is_proxy = is_proxy
        self._open: Counter[str] = Counter()
        self._total = 0
        self._lingering = 0

    @classmethod
    def allowed_by(cls, settings: Settings, *, files: int) -> "Connections":
        """`files`: how many this process may have open."""
        return cls(
            Patience(settings.head_timeout_s, settings.body_timeout_s),
            per_site=settings.connections_per_address,
            in_all=max(FEWEST, (files - OTHER_FILES) // FILES_PER_CONNECTION),
            is_proxy=proxies(settings.trusted_proxies),
        )

    def opened(self, address: str) -> Failure | None:
        """Counts a connection, which `closed` gives back in any case; what it is refused with, if it is."""
        site = site_of(address)
        self._open[site] += 1
        self._total += 1
        if self._total > self._in_all:
            return FULL
        return TOO_MANY if self._open[site] > self._per_site and not self._is_proxy(address) else None

    def closed(self, address: str) -> None:
        site = site_of(address)
        self._total -= 1
        self._open[site] -= 1
        if not self._open[site]:
            del self._open[site]

    def may_linger(self) -> bool:
        """Whether one more that is refused may be told why; `lingered` is called when its connection ends."""
        if self._lingering >= LINGERING:
            return False
        self._lingering += 1
        return True

    def lingered(self) -> None:
        self._lingering -= 1
