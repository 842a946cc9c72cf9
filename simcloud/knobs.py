"""How one inference request is to be treated: the machine's traits, overruled by `x-sim-*` headers of the request."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from simcloud.echo import BadBody
from simcloud.errors import Rejected
from simcloud.fleet import Traits

LIMITS: Mapping[str, tuple[int, int]] = {
    "delay_ms": (0, 600_000),
    "chunks": (1, 100_000),
    "chunk_delay_ms": (0, 60_000),
    "fail_after_chunks": (0, 100_000),
    "status": (400, 599),
}


def from_headers(headers: Mapping[str, str], traits: Traits) -> Traits:
    """Raises BadBody for a knob out of range."""
    values = {knob.name: getattr(traits, knob.name) for knob in fields(Traits)}
    for name in values:
        header = f"x-sim-{name.replace('_', '-')}"
        if (text := headers.get(header)) is not None:
            try:
                values[name] = _within(name, int(text))
            except ValueError as error:
                raise BadBody(f"{header}: {error}") from error
    return Traits(**values)


def from_json(body: Mapping[str, Any]) -> Traits:
    """Raises Rejected."""
    if unknown := set(body) - set(LIMITS):
        raise Rejected(f"unknown fields {sorted(unknown)}; there are {sorted(LIMITS)}")
    try:
        values = {name: _within(name, int(value)) for name, value in body.items() if value is not None}
    except (TypeError, ValueError) as error:
        raise Rejected(str(error)) from error
    return Traits(**values)


def _within(name: str, value: int) -> int:
    least, most = LIMITS[name]
    if not least <= value <= most:
        raise ValueError(f"{name} is {least} to {most}")
    return value
