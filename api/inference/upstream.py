"""Calls to model servers: one pool of kept-alive connections, every way of failing given a name."""

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

import aiohttp
from yarl import URL

from models.base.errors import AppError, DeadlineExceeded, ProviderError, ServiceUnavailable
from models.base.proxies import Proxy, UnusableProxy, proxy_for
from models.domain.inference.routing import Route

logger = logging.getLogger(__name__)

KEEPALIVE_S = 3.0
"""Shorter than the 5 s after which llama.cpp, vLLM and uvicorn close an idle connection: a request rarely meets a closed one."""
READ_BUFFER_BYTES = 65_536
"""Unread bytes of one answer after which the model server is no longer read from: a slow caller slows its own stream."""
LARGE_BODY_BYTES = 1_000_000
"""From here on a body is written in pieces instead of at once."""
REFUSED_RETRY_AFTER_S = 2.0
"""For a server that is busy or not ready and does not say for how long."""

LEFT_OUT_HEADERS = ("User-Agent", "Accept")
UNCODED = "identity"
"""The only content coding asked for: in any other the usage could not be read on the way."""

PROXY_WANTS_CREDENTIALS = 407

DECLINED = frozenset((429, 503))
"""With these a server, or the gateway before it, says that it did not do the work: another instance may."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: to connect, for an answer, for a stream, between two pieces of a stream."""

    connect_s: float
    answer_s: float
    stream_s: float
    stream_idle_s: float


class UpstreamFailure(Exception):
    """A call that failed. `error` is what the caller is told; `is_retryable`, that another instance may take the request.

    `may_have_worked`: the server began, and nobody knows how far it got.
    """

    def __init__(
        self, error: AppError, *, is_retryable: bool, may_have_worked: bool = False, status: int | None = None
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.is_retryable = is_retryable
        self.may_have_worked = may_have_worked
        self.status = status

    @property
    def is_unreachable(self) -> bool:
        """No answer at all: there was no connection, or it was lost before the first byte."""
        return self.is_retryable and self.status is None


class Upstream:
    """Opened once per process, inside its event loop."""

    def __init__(self, limits: Limits) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=LEFT_OUT_HEADERS,
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_BUFFER_BYTES,
        )
        self._timeouts = {
            False: aiohttp.ClientTimeout(total=limits.answer_s, sock_connect=limits.connect_s),
            True: aiohttp.ClientTimeout(
                total=limits.stream_s, sock_connect=limits.connect_s, sock_read=limits.stream_idle_s
            ),
        }

    async def close(self) -> None:
        await self._session.close()

    async def post(
        self, route: Route, path: str, body: bytes, headers: Mapping[str, str], *, is_stream: bool
    ) -> aiohttp.ClientResponse:
        """The answer once its head is there, whatever its status. The caller of this closes it. Raises UpstreamFailure."""
        try:
            proxy = _proxy_to(route.url)
        except UnusableProxy as error:
            logger.warning("a model server elsewhere cannot be called: %s", error)
            raise _unreachable() from error
        try:
            answer = await self._session.post(
                _url(route.url, path),
                proxy=None if proxy is None else proxy.url,
                data=body if len(body) < LARGE_BODY_BYTES else BytesIO(body),
                headers={
                    "Content-Type": "application/json",
                    "Accept-Encoding": UNCODED,
                    "Authorization": route.authorization,
                    **headers,
                },
                timeout=self._timeouts[is_stream],
                allow_redirects=False,  # a model server that points elsewhere is not followed
            )
        except (aiohttp.ClientError, OSError) as error:
            if said := _of_the_way(error, proxy):
                logger.warning("a model server elsewhere cannot be called: %s", said)
            raise _failed_call(error) from error
        if proxy is not None and answer.status == PROXY_WANTS_CREDENTIALS:
            answer.close()
            logger.warning("a model server elsewhere cannot be called: %s wants other credentials", proxy)
            raise _unreachable()
        return answer


def _of_the_way(error: Exception, proxy: Proxy | None) -> str | None:
    """What the operator can mend, where it is not the model server that failed."""
    match error:
        case aiohttp.ClientHttpProxyError():
            return f"{proxy} refused ({error.status})"
        case aiohttp.ClientProxyConnectionError():
            return f"{proxy} does not answer"
        case aiohttp.ClientConnectorCertificateError():
            return "its certificate is not trusted; SSL_CERT_FILE names the authorities that are"
    return None


def failed_read(error: Exception, *, has_begun: bool) -> UpstreamFailure:
    """An answer that broke off. Once it had begun nobody else is asked: the tokens are spent."""
    if isinstance(error, TimeoutError):
        return _too_slow()
    return broken_off(has_begun=has_begun)


def broken_off(*, has_begun: bool) -> UpstreamFailure:
    broken = ProviderError("the model server's answer broke off", code="UPSTREAM_READ_FAILED")
    return UpstreamFailure(broken, is_retryable=not has_begun, may_have_worked=has_begun)


def declined(status: int) -> UpstreamFailure:
    """One of `DECLINED`, where another instance is there to be asked: the caller hears of it only if that cannot be."""
    error = ServiceUnavailable(
        "the model server cannot take the request now",
        code="UPSTREAM_UNAVAILABLE",
        retry_after_s=REFUSED_RETRY_AFTER_S,
    )
    return UpstreamFailure(error, is_retryable=True, status=status)


def failed_status(status: int) -> UpstreamFailure | None:
    """What a status says about this gateway rather than about the request; None for those that are the caller's answer.

    A server that refuses our key no longer accepts this generation's, which says nothing of another instance. One that points
    elsewhere is not followed, and where it points is nobody's business.
    """
    if status in (401, 403):
        error = ProviderError("the model server refused this gateway", code="UPSTREAM_REFUSED")
        return UpstreamFailure(error, is_retryable=True, status=status)
    if 400 <= status < 600:
        return None
    error = ProviderError("the model server failed on this request", code="UPSTREAM_ERROR")
    return UpstreamFailure(error, is_retryable=False, status=status)


def _failed_call(error: Exception) -> UpstreamFailure:
    """A call without an answer. It is tried elsewhere, unless the time for it is over and the work may still be going on."""
    if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError):
        return _too_slow()
    return _unreachable()


def _unreachable() -> UpstreamFailure:
    error = ProviderError("the model server could not be reached", code="UPSTREAM_UNREACHABLE")
    return UpstreamFailure(error, is_retryable=True)


def _too_slow() -> UpstreamFailure:
    late = DeadlineExceeded("the model server did not answer in time", code="UPSTREAM_TIMEOUT")
    return UpstreamFailure(late, is_retryable=False, may_have_worked=True)


@functools.lru_cache(maxsize=4096)
def _proxy_to(base: str) -> Proxy | None:
    """Raises UnusableProxy."""
    return proxy_for(base)


@functools.lru_cache(maxsize=4096)
def _url(base: str, path: str) -> URL:
    return URL(base + path)
