"""Families of routes over one domain: which a path belongs to decides how errors look (DESIGN 3)."""

from dataclasses import dataclass
from enum import StrEnum


class Dialect(StrEnum):
    """The shape of an error body."""

    PROBLEM = "problem"  # RFC 9457, with the keys that older clients read
    OPENAI = "openai"
    STACKS = "stacks"


@dataclass(frozen=True, slots=True)
class Surface:
    name: str
    dialect: Dialect


FLEET = Surface("fleet", Dialect.PROBLEM)
INFERENCE = Surface("inference", Dialect.OPENAI)
GATEWAY = Surface("gateway", Dialect.PROBLEM)
STACKS = Surface("stacks", Dialect.STACKS)

PREFIXES: tuple[tuple[str, Surface], ...] = (
    ("/v1", INFERENCE),
    ("/api/v1", STACKS),
    ("/api", GATEWAY),
    ("", FLEET),
)
"""The first prefix that ends at a segment of the path decides."""


def surface_for(path: str) -> Surface:
    """The surface of any path, existing or not."""
    for prefix, surface in PREFIXES:
        if path == prefix or path.startswith(f"{prefix}/"):
            return surface
    return FLEET
