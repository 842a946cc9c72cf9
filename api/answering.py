"""Which family answers what this task is asked: of its share are the connections that the answer needs (decision 93)."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar

_family: ContextVar[str | None] = ContextVar("quarterdeck_answering_family", default=None)


def answering_family() -> str | None:
    """Of the route or socket; None beside them."""
    return _family.get()


def answered_by(family: str) -> Callable[[], Awaitable[None]]:
    """A dependency for all routes and sockets of the family, to be the first that they have."""

    async def begin() -> None:  # not a plain function: what that sets in its thread is set for nobody else
        _family.set(family)

    return begin
