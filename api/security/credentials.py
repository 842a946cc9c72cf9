"""What a request carries to say who it is, in the order in which it counts (contract/fleet.md 1.2)."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

RawHeaders = Iterable[tuple[bytes, bytes]]
"""Header names in lower case, as ASGI has them."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""RFC 9110, 9.2.1."""

_BEARER = b"bearer "


@dataclass(frozen=True, slots=True)
class Credential:
    """`ambient` is true for what a browser sends by itself, on behalf of whatever page asked it to."""

    token: str = field(repr=False)
    ambient: bool = False


def credentials(headers: RawHeaders, cookie_name: str) -> list[Credential]:
    """Cookie, then `X-API-Key`, then bearer. What is not ASCII is no credential."""
    cookie = api_key = bearer = b""
    prefix = cookie_name.encode() + b"="
    for name, value in headers:
        if name == b"cookie" and not cookie:
            cookie = next(
                (part[len(prefix) :] for part in map(bytes.strip, value.split(b";")) if part.startswith(prefix)), b""
            )
        elif name == b"x-api-key":
            api_key = value.strip()
        elif name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            bearer = value[len(_BEARER) :].strip()
    found = ((cookie.strip(b'"'), True), (api_key, False), (bearer, False))
    return [Credential(token.decode(), ambient) for token, ambient in found if token and token.isascii()]


def is_cross_origin(method: str, headers: RawHeaders) -> bool:
    """True when a browser says that another site's page makes this unsafe request (CSRF).

    `Sec-Fetch-Site` decides where there is one (every browser since 2023), else `Origin` against `Host`; a client that
    sends neither is no browser. The rule is that of Go's `net/http.CrossOriginProtection`.
    """
    return method not in SAFE_METHODS and comes_from_elsewhere(headers)


def comes_from_elsewhere(headers: RawHeaders, origins: Collection[bytes] = ()) -> bool:
    """Whether a browser says that this is for a page of an origin that is neither our own nor one of `origins`."""
    headers = list(headers)
    if any(name == b"origin" and value in origins for name, value in headers):
        return False
    sent = {name: value.decode("latin-1") for name, value in headers if name in {b"sec-fetch-site", b"origin", b"host"}}
    site = sent.get(b"sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    if b"origin" not in sent:
        return False
    authority = sent[b"origin"].partition("://")[2].lower()  # nothing for the opaque origin, "null"
    return not authority or authority != sent.get(b"host", "").lower()
