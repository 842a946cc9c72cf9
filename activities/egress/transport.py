"""An httpx transport that connects to judged addresses only, on every hop of a redirect and every new connection.

The resolution happens where the socket is opened, beneath TLS: `Host` and the name in the certificate stay those of the
URL, and the address that was judged is the one connected to.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import httpcore
import httpx

from activities.egress.resolve import Resolver, checked_addresses, system_resolver
from models.domain.egress import Address, EgressPolicy, parse_url

CONNECT_TIMEOUT_S: Final = 5.0
"""Longest wait for one address, so that a dead first one leaves time for the next."""


class _JudgingBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections to what the policy permits. Unix sockets are not for URLs that users give."""

    def __init__(self, policy: EgressPolicy, resolve: Resolver) -> None:
        self._policy, self._resolve = policy, resolve
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of httpcore
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await checked_addresses(host, self._policy, self._resolve)
        limit_s = CONNECT_TIMEOUT_S if timeout is None else min(timeout, CONNECT_TIMEOUT_S)
        return await self._first_that_answers(addresses, port, limit_s, local_address, socket_options)

    async def _first_that_answers(
        self, addresses: list[Address], port: int, limit_s: float, *options: Any
    ) -> httpcore.AsyncNetworkStream:
        for address in addresses[:-1]:
            try:
                return await self._sockets.connect_tcp(str(address), port, limit_s, *options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._sockets.connect_tcp(str(addresses[-1]), port, limit_s, *options)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class EgressTransport(httpx.AsyncBaseTransport):
    """For `httpx.AsyncClient(transport=…, trust_env=False)`, which leaves out proxies: they would resolve in our place.

    Raises EgressRefused besides httpx's own errors. A changed allow-list needs a new transport: open connections end
    with the old one.
    """

    def __init__(
        self, policy: EgressPolicy, *, resolve: Resolver = system_resolver, tls: ssl.SSLContext | None = None
    ) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or ssl.create_default_context(),
            max_connections=100,
            keepalive_expiry=5.0,
            network_backend=_JudgingBackend(policy, resolve),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        parse_url(str(request.url))  # scheme, user name, port and spelling, on each hop
        url = httpcore.URL(
            scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path
        )
        forwarded = httpcore.Request(
            method=request.method,
            url=url,
            headers=request.headers.raw,
            content=cast("httpx.AsyncByteStream", request.stream),
            extensions=request.extensions,
        )
        async with _as_httpx_errors(request):
            answer = await self._pool.handle_async_request(forwarded)
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer.stream, request),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, stream: Any, request: httpx.Request) -> None:
        self._stream, self._request = stream, request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with _as_httpx_errors(self._request):
            async for part in self._stream:
                yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def _as_httpx_errors(request: httpx.Request) -> AsyncIterator[None]:
    """httpx names its transport errors as httpcore does."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
    ) as error:
        translated: type[httpx.TransportError] = getattr(httpx, type(error).__name__, httpx.TransportError)
        raise translated(str(error), request=request) from error
