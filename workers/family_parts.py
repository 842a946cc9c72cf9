"""What a family has `quarterdeck up` run beside what every installation has: the `FAMILY` of its module in `workers/parts`."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from models.settings import Settings
from models.settings.derived import DatabaseRole

TAKEN = frozenset({"postgres", "temporal", "simcloud", "api", "worker", "migrate", "bootstrap"})
"""Names of what `up` runs anyway: logs and ready files are named by part."""


@dataclass(frozen=True)
class WhenSet:
    """Where the settings say so it runs as long as `up`, and is a part of its start: where it cannot start, nor can `up`."""

    holds: Callable[[Settings], bool]


@dataclass(frozen=True)
class WhileRows:
    """It runs while the answer is true, whatever `up` found when it started. Where it cannot start, `up` says so and goes on."""

    question: str
    """A statement of SQL with one value, cheap enough to be asked every few seconds. It is asked as the worker's role, of no
    organization: what it needs of rows of organizations it asks a function for (`models/sql`).
    """


@dataclass(frozen=True, kw_only=True)
class FamilyPart:
    """One program. It is given the settings as they are in the environment, and no way into the database but that of its role."""

    name: str
    """As `quarterdeck status` shows it, and as its log is called."""
    when: WhenSet | WhileRows
    command: tuple[str, ...]
    """`(sys.executable, "-m", "workers", "worker", "--provider", ...)`, for one. It writes to the database and to Temporal, if to
    anything: both end after it. One that replaces itself by another program (`exec`) is not known again by its command line.
    """
    logs_in_as: DatabaseRole | None = None
    port: Callable[[Settings], int] | None = None
    """Where it listens, on loopback: it is ready once it does. None: it creates the file that `workers.readiness` speaks of."""


@dataclass(frozen=True)
class FamilyParts:
    """Of one family."""

    parts: tuple[FamilyPart, ...]


def joined(families: Iterable[FamilyParts]) -> tuple[FamilyPart, ...]:
    """The parts of all. Raises ValueError for a name that two have, or that is no name for a file."""
    parts = tuple(part for family in families for part in family.parts)
    names = [part.name for part in parts]
    wrong = [one for one in names if names.count(one) > 1 or one in TAKEN or not re.fullmatch("[a-z][a-z0-9-]*", one)]
    if wrong:
        raise ValueError(f"no names for parts of `up`, or those of others: {', '.join(sorted(set(wrong)))}")
    return parts
