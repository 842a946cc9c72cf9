"""Values of the API as people read them."""

import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

NOTHING = "-"
SHORT_ID = 13
"""Characters of a shortened id: the milliseconds of a UUIDv7. Fewer are shared by everything made in the same minute."""

_DIRECTION_MARKS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str, *, multiline: bool = False) -> str:
    """`text` without what a terminal would obey: control characters and marks that reorder a line."""
    kept = "\n\t" if multiline else ""
    return "".join(
        character
        for character in (text if multiline else " ".join(text.split()))
        if character in kept or (unicodedata.category(character) != "Cc" and character not in _DIRECTION_MARKS)
    )


def shown(value: Any) -> str:
    """One cell: `-` for nothing, yes or no for a truth."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    if isinstance(value, list):
        return ", ".join(shown(item) for item in value) or NOTHING
    return printable(str(value)) or NOTHING


def money(amount: Any) -> str:
    """EUR with at least two places and no more than it has: 0.75, 0.001234."""
    if not isinstance(amount, int | float) or isinstance(amount, bool):
        return NOTHING
    whole, _, places = f"{amount:.6f}".partition(".")
    return f"{whole}.{places[:2]}{places[2:].rstrip('0')}"


def percent(value: Any) -> float:
    """A share between 0 and 100."""
    return min(max(float(value), 0.0), 100.0) if isinstance(value, int | float) else 0.0


def moment(value: Any) -> datetime | None:
    """A point in time of the API; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def seconds_since(value: Any, now: datetime) -> float | None:
    """Seconds from a point in time of the API until `now`, never negative."""
    then = moment(value)
    return None if then is None else max((now - then).total_seconds(), 0.0)


def duration(seconds: float | None) -> str:
    """Two units at most: 4 s, 3 min 20 s, 5 h 2 min, 2 d 3 h."""
    if seconds is None:
        return NOTHING
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two_units(whole, 60, "min", 1, "s")
    if whole < 86_400:
        return _two_units(whole, 3600, "h", 60, "min")
    return _two_units(whole, 86_400, "d", 3600, "h")


def _two_units(whole_s: int, unit_s: int, unit: str, below_s: int, below: str) -> str:
    rest = whole_s % unit_s // below_s
    return f"{whole_s // unit_s} {unit}" + (f" {rest} {below}" if rest else "")


def age(value: Any, now: datetime) -> str:
    return duration(seconds_since(value, now))


def title_case(code: str) -> str:
    """A code in UPPER_SNAKE as words (contract/fleet.md 11.1): `PROVIDER_CREATE` is Provider Create."""
    return printable(code).replace("_", " ").strip().title()


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """Each id's shortest beginning of at least SHORT_ID characters that no other of them shares."""
    ordered = sorted(set(ids))
    result = {}
    for position, identifier in enumerate(ordered):
        neighbours = ordered[max(position - 1, 0) : position] + ordered[position + 1 : position + 2]
        length = max([SHORT_ID, *(_common_length(identifier, other) + 1 for other in neighbours)])
        result[identifier] = identifier[:length]
    return result


def _common_length(one: str, other: str) -> int:
    for length, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return length
    return min(len(one), len(other))
