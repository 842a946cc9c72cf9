"""One bounded HTTP call to an address that a user gave: what flows, webhooks and upstream checks use."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Final, Self

import httpx

from activities.egress.resolve import Resolver, system_resolver
from activities.egress.transport import EgressTransport
from models.domain.egress import EgressPolicy, EgressRefused, TargetMisbehaved, TargetUnreachable, parse_url

MAX_REDIRECTS: Final = 5


@dataclass(frozen=True)
class Bounds:
    """`total_s` is for everything together, from resolution to the last byte, over all redirects."""

    total_s: float = 30.0
    body_bytes: int = 5_000_000


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    """The last one, after redirects."""


class Fetcher:
    """`async with Fetcher(policy) as fetcher:`; connections are kept for its life and serve concurrent calls."""

    def __init__(
        self, policy: EgressPolicy, *, resolve: Resolver = system_resolver, tls: ssl.SSLContext | None = None
    ) -> None:
        self._client = httpx.AsyncClient(
            transport=EgressTransport(policy, resolve=resolve, tls=tls),
            trust_env=False,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # one call's session is not the next one's
            # A small compressed answer may unpack to gigabytes: compression is neither asked for nor accepted.
            headers={"accept-encoding": "identity"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        bounds: Bounds = Bounds(),
    ) -> Answer:
        """The answer, whatever its status. Raises EgressRefused, TargetUnreachable (retryable), TargetMisbehaved.

        `content` goes along with a 307 or 308, to another origin too: a secret belongs into a header.
        """
        host = parse_url(url).host
        try:
            async with asyncio.timeout(bounds.total_s):
                return await self._exchange(method, url, headers, content, bounds)
        except (TimeoutError, httpx.TimeoutException):
            raise TargetUnreachable(f"{host} did not answer within its time limit", details={"host": host}) from None
        except httpx.TooManyRedirects:
            raise TargetMisbehaved(
                f"{host} redirects more than {MAX_REDIRECTS} times", details={"host": host}
            ) from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise EgressRefused(
                f"the URL, or one that {host} redirects to, cannot be called", details={"host": host}
            ) from None
        except httpx.HTTPError as error:
            raise TargetUnreachable(
                f"the connection to {host} failed", details={"host": host, "kind": type(error).__name__}
            ) from None

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str] | None, content: bytes | None, bounds: Bounds
    ) -> Answer:
        request = self._client.build_request(method, url, headers=headers, content=content)
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._client.send(request, stream=True)
            try:
                if response.next_request is None:
                    return Answer(
                        response.status_code, dict(response.headers), await _read(response, bounds), str(request.url)
                    )
                request = _next_hop(request, response.next_request, headers or {})
            finally:
                await response.aclose()  # the body of a redirect is not read: nobody wants it and it may be endless
        raise TargetMisbehaved(f"{request.url.host} redirects more than {MAX_REDIRECTS} times")


async def _read(response: httpx.Response, bounds: Bounds) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise TargetMisbehaved("the target sent a compressed answer that was not asked for")
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > bounds.body_bytes:
            raise TargetMisbehaved(f"the target sent more than {bounds.body_bytes} bytes")
    return bytes(body)


def _next_hop(request: httpx.Request, following: httpx.Request, given: Mapping[str, str]) -> httpx.Request:
    """The request that the redirect asks for. To another origin none of the caller's headers goes along: any may be a key."""
    if request.url.scheme == "https" and following.url.scheme != "https":
        raise EgressRefused(f"{request.url.host} redirects from https to http")
    if _origin(request.url) != _origin(following.url):
        for name in given:
            following.headers.pop(name, None)
        following.headers["host"] = following.url.netloc.decode("ascii")
    return following


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
