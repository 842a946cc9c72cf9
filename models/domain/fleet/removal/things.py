"""What a provider may have of an instance: each a kind and an id."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple


class ThingKind(StrEnum):
    MACHINE = "machine"
    VOLUME = "volume"
    ADDRESS = "address"
    FIREWALL = "firewall"


STAGES: Final = (
    (ThingKind.MACHINE,),
    (ThingKind.VOLUME, ThingKind.ADDRESS),
    (ThingKind.FIREWALL,),
)
"""In this order they go, each when nothing of those before is left: a provider refuses to delete what is attached or in use."""


class Thing(NamedTuple):
    kind: ThingKind
    id: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A thing in a provider's list."""

    thing: Thing
    zone: str
    is_billed: bool
    is_doomed: bool = True
    """Whether it goes with the instance; a volume may be there to be kept."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of an instance when a round of its removal begins."""

    zone: str
    recorded: frozenset[Thing] = frozenset()
    """Whose bill is written down: one that is billed and not among them is reported before anything is touched."""
    doomed: frozenset[Thing] = frozenset()
    """Whose end is asked for, also when no list shows them any more."""
    silent_s: float | None = None
    """For how long nothing can have been sent that makes a machine; None where nothing ever was, or it was refused."""
