"""What a family may be used for, and by whom."""

from dataclasses import dataclass
from enum import StrEnum


class Permission(StrEnum):
    """Each family has its own, in `models/domain/permissions`: a value is the scope of an API key, too."""


@dataclass(frozen=True, kw_only=True)
class Grants:
    """What each role may that none before it may."""

    viewer: frozenset[Permission] = frozenset()
    user: frozenset[Permission] = frozenset()
    manager: frozenset[Permission] = frozenset()
    admin: frozenset[Permission] = frozenset()
