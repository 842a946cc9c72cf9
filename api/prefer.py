"""`Prefer` (RFC 7240): what a caller would like of an answer. What is not understood is passed over, as it demands."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

LONGEST_WAIT_S: Final = 25
"""A longer wait is shortened to it: proxies give an answer up after 30 s and more (DESIGN 3)."""

_PREFERENCE = re.compile(r'[ \t]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)[ \t]*(?:=[ \t]*("(?:[^"\\]|\\.)*"|[^\s,;"]*))?[ \t]*')
_REST = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^,"])*,?')
"""Parameters of a preference, which none of ours has, up to the next one."""
_SECONDS = re.compile(r'"?([0-9]{1,9})"?')


@dataclass(frozen=True, slots=True)
class Preferences:
    """Of those that are known here."""

    wait_s: int | None = None
    """Whole seconds, LONGEST_WAIT_S at most; None: nothing was said of it."""


def preferences(fields: Iterable[str]) -> Preferences:
    """Of all `Prefer` fields of a request, which are one list. Of one that stands there twice the first counts (RFC 7240, 2).

    `respond-async` without a `wait` is a wait of no time (RFC 7240, 4.1).
    """
    found: dict[str, str] = {}
    for field in fields:
        at = 0
        while at < len(field):
            preference = _PREFERENCE.match(field, at)
            if preference is not None:
                found.setdefault(preference[1].lower(), preference[2] or "")
                at = preference.end()
            rest = _REST.match(field, at)
            at = rest.end() if rest is not None and rest.end() > at else len(field)
    wait = _SECONDS.fullmatch(found.get("wait", ""))
    if wait is not None:
        return Preferences(min(int(wait[1]), LONGEST_WAIT_S))
    return Preferences(0 if "respond-async" in found else None)
