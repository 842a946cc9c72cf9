"""How deep and how wide a JSON text is, told from its bytes: what is beyond the bounds never becomes objects.

A parser makes some 60 bytes of memory out of two bytes of `[]`, and code that walks what it made in recursion breaks at a few
hundred levels. Every step here is one pass of C code over the bytes, and most texts are done after the first.
"""

import re
from dataclasses import dataclass

from models.base.errors import MalformedRequest

MOST_LEVELS = 64
MOST_MEMBERS = 10_000
MOST_VALUES = 250_000
"""Texts, objects and arrays of one body. Numbers are not counted: a prompt may be a list of tokens."""


class JsonOutOfBounds(MalformedRequest):
    """JSON that is deeper, wider or more than anybody here reads."""


_OPENING = b"[{"
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'"[]{},'))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_INNERMOST = re.compile(rb"\[,*\]|\{,*\}")
_LEAST_BYTES_PER_VALUE = 2


@dataclass(frozen=True, slots=True)
class _Skeleton:
    """What is left of a text without its strings, numbers and names: `[]{},`."""

    outside: bytes
    strings: int

    @classmethod
    def of(cls, text: bytes) -> "_Skeleton":
        """Of valid JSON; up to where it stops being valid, which is as far as a parser gets."""
        if b"\\" in text:  # escaped backslashes first: what is left before a quote escapes it
            text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
        structure = text.translate(None, _NOT_STRUCTURE)
        strings = structure.count(b'"') // 2
        if strings > MOST_VALUES:
            return cls(b"", strings)
        # Two quotes side by side end a string and begin one: without them the same characters are inside strings as before.
        return cls(b"".join(structure.replace(b'""', b"").split(b'"')[::2]), strings)

    @property
    def containers(self) -> int:
        return self.outside.count(b"[") + self.outside.count(b"{")


def check_json_bounds(text: bytes) -> None:
    """Raises JsonOutOfBounds for JSON beyond 64 levels, 10,000 members of one object or array, or 250,000 values.

    What is no JSON may pass: the parser says so.
    """
    is_narrow = text.count(b",") < MOST_MEMBERS
    if is_narrow and _opening(text) <= MOST_LEVELS and len(text) <= MOST_VALUES * _LEAST_BYTES_PER_VALUE:
        return
    skeleton = _Skeleton.of(text)
    _check_values(skeleton)
    if skeleton.containers > MOST_LEVELS:
        _check_levels(skeleton.outside)
    if not is_narrow:
        _check_members(skeleton.outside)


def check_json_values(text: bytes) -> None:
    """The third of these bounds alone, for bodies whose arrays may be wide. Nothing is read of a text under half a megabyte."""
    if len(text) <= MOST_VALUES * _LEAST_BYTES_PER_VALUE:
        return
    if len(text) - len(text.translate(None, b'[{"')) > MOST_VALUES:
        _check_values(_Skeleton.of(text))


def check_depth(document: object, text: bytes) -> None:
    """The first of these bounds, for what a parser that does not recurse made of the text: to walk over objects and arrays costs
    less than to look at every byte of a long conversation. Raises JsonOutOfBounds.
    """
    if _opening(text) <= MOST_LEVELS:
        return
    level = [document]
    for _ in range(MOST_LEVELS):
        members = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        level = [member for some in members for member in some if isinstance(member, dict | list)]
        if not level:
            return
    raise _too_deep()


def _opening(text: bytes) -> int:
    """Brackets that open something, those inside strings too."""
    return len(text) - len(text.translate(None, _OPENING))


def _check_values(skeleton: _Skeleton) -> None:
    if skeleton.strings + skeleton.containers > MOST_VALUES:
        raise JsonOutOfBounds(
            f"the JSON body has more than {MOST_VALUES} texts, objects and arrays", details={"most_values": MOST_VALUES}
        )


def _check_levels(outside: bytes) -> None:
    """Takes away the innermost brackets, of one kind here, level by level."""
    brackets = outside.translate(_ONE_KIND, b",")
    for _ in range(MOST_LEVELS):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"")
    if b"[" in brackets:  # also what never closes, which is no JSON
        raise _too_deep()


def _check_members(outside: bytes) -> None:
    """Takes away the innermost objects and arrays, level by level; the commas of one are side by side by then."""
    too_wide = b"," * MOST_MEMBERS
    removed = 1
    while removed:
        if too_wide in outside:
            raise JsonOutOfBounds(
                f"an object or array of the JSON body has more than {MOST_MEMBERS} members",
                details={"most_members": MOST_MEMBERS},
            )
        outside, removed = _INNERMOST.subn(b"", outside)


def _too_deep() -> MalformedRequest:
    return JsonOutOfBounds(
        f"the JSON body is nested more than {MOST_LEVELS} levels deep, or never ends",
        details={"most_levels": MOST_LEVELS},
    )
