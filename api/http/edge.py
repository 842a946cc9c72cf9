"""What both edges, that of the framework and that of `/v1`, and the sockets do alike with whatever comes in."""

import logging
import re
import traceback
from collections.abc import Iterable

from starlette.types import Scope

from models.base.errors import InvalidRequest, MalformedRequest
from models.base.ids import new_id

logger = logging.getLogger(__name__)

REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""What a caller may choose as its request id: it is repeated in headers and logs."""

MOST_PARAMETERS = 200
"""Of a query; the largest search here has fewer than 20."""

HeaderPairs = tuple[tuple[bytes, bytes], ...]

FOR_PROGRAMS: HeaderPairs = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
"""Sent with every answer that has not its own. OWASP REST Security Cheat Sheet, section Security Headers."""

FOR_BROWSERS: HeaderPairs = (
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""Beside them, where an answer may be a page: what it may do. No answer of `/v1` is one, and each header costs as much there as
choosing an instance."""

_HSTS = (b"strict-transport-security", b"max-age=31536000")


def security_headers(*, hsts: bool, for_browsers: bool) -> HeaderPairs:
    """`hsts` where the installation is reached over TLS alone."""
    return (*FOR_PROGRAMS, *(FOR_BROWSERS if for_browsers else ()), *((_HSTS,) if hsts else ()))


def beside(own: Iterable[tuple[bytes, bytes]], others: HeaderPairs) -> list[tuple[bytes, bytes]]:
    """An answer's own headers, and of the others those that it has not."""
    found = list(own)
    names = {name.lower() for name, _ in found}
    return found + [pair for pair in others if pair[0] not in names]


def chosen_id(given: bytes | None) -> str | None:
    """The caller's `X-Request-ID`, if it is fit to be repeated."""
    return given.decode() if given is not None and REQUEST_ID.fullmatch(given) else None


def begin(scope: Scope) -> str:
    """Gives what comes in its id, which is kept with it and returned, and its path the one form that routes know."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
    request_id = chosen_id(given) or str(new_id())
    scope.setdefault("state", {})["request_id"] = request_id
    scope["path"] = scope["path"].rstrip("/") or "/"
    return request_id


def check_query(scope: Scope) -> None:
    """Before anybody takes it apart. Raises InvalidRequest, MalformedRequest."""
    query = scope["query_string"]
    if "\0" in scope["path"] or b"%00" in query or b"\0" in query:
        raise InvalidRequest("NUL characters are not allowed in a path or query")
    if query.count(b"&") >= MOST_PARAMETERS:
        raise MalformedRequest(f"the query has more than {MOST_PARAMETERS} parameters")


def log_unexpected(scope: Scope, error: Exception) -> None:
    """Where it happened and what kind it was. Never its text: a driver's message may repeat what a caller sent."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    kinds = " from ".join(_kinds(error))
    route = getattr(scope.get("route"), "path", "an unknown path")
    logger.error("unexpected %s while answering %s %s\n%s", kinds, scope.get("method", "WEBSOCKET"), route, frames)


def _kinds(error: BaseException) -> list[str]:
    kinds: list[str] = []
    current: BaseException | None = error
    while current is not None and len(kinds) < 5:
        kinds.append(type(current).__qualname__)
        current = current.__cause__ or current.__context__
    return kinds
