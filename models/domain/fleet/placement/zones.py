"""The zones that an order may go to, in the order in which they are tried, and the one in which it stands."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Zones:
    """Codes. `offered` is empty for an order that names its zone, and for one of which there is no second: these never move."""

    offered: Sequence[str]
    at: str | None

    @property
    def tried(self) -> list[str]:
        """Those that had no capacity, in the order in which they said so."""
        return [] if self.at not in self.offered else list(self.offered[: self.offered.index(self.at)])

    @property
    def left(self) -> list[str]:
        """Those that nothing was sent to yet, the next one first."""
        return [] if self.at not in self.offered else list(self.offered[self.offered.index(self.at) + 1 :])

    def after(self, full: str) -> str | None:
        """The next one. None where the order stands elsewhere already, or there is none."""
        return self.left[0] if self.at == full and self.left else None
