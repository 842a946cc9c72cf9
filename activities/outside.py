"""HTTP to other machines: through the proxy and with the authorities that the environment names, each call for itself."""

import logging

import httpx

from models.base.certificates import UnusableCertificates, chosen_authorities, is_about_certificates, no_authorities
from models.base.proxies import Proxy, UnusableProxy, proxy_for

logger = logging.getLogger(__name__)

NOT_TRUSTED = "its certificate is not trusted; SSL_CERT_FILE names the authorities that are"


class OutsideTransport(httpx.AsyncBaseTransport):
    """For `httpx.AsyncClient(transport=…, trust_env=False)`. A call to this machine has no proxy.

    What the environment says wrongly fails the calls that it is for, not the process. Raises httpx.ProxyError, and
    httpx.ConnectError for authorities that cannot be read or do not vouch, each with a line that names the variable and no
    password. The log has that line, too.
    """

    def __init__(self) -> None:
        self._ways: dict[tuple[Proxy | None, bool], httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            proxy = proxy_for(str(request.url))
            way = self._way(proxy, is_tls=request.url.scheme == "https")
        except UnusableProxy as error:
            raise _told(httpx.ProxyError, str(error), request) from None
        except UnusableCertificates as error:
            raise _told(httpx.ConnectError, str(error), request) from None
        try:
            return await way.handle_async_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if is_about_certificates(error):
                raise _told(httpx.ConnectError, NOT_TRUSTED, request) from error
            if proxy is None:
                raise
            raise _told(httpx.ProxyError, f"{proxy} does not answer", request) from error
        except httpx.ProxyError as error:
            raise _told(httpx.ProxyError, f"{proxy} refused", request) from error

    async def aclose(self) -> None:
        for way in self._ways.values():
            await way.aclose()

    def _way(self, proxy: Proxy | None, *, is_tls: bool) -> httpx.AsyncHTTPTransport:
        needs_tls = is_tls or (proxy is not None and proxy.is_tls)
        if (proxy, needs_tls) not in self._ways:
            self._ways[proxy, needs_tls] = httpx.AsyncHTTPTransport(
                verify=chosen_authorities() or True if needs_tls else no_authorities(),
                trust_env=False,
                proxy=None if proxy is None else proxy.url,
            )
        return self._ways[proxy, needs_tls]


def _told(kind: type[httpx.ConnectError | httpx.ProxyError], said: str, request: httpx.Request) -> httpx.TransportError:
    logger.warning("%s cannot be called: %s", request.url.host, said)
    return kind(said, request=request)


def outside_client(timeout_s: float) -> httpx.AsyncClient:
    """For calls to other machines; one takes `timeout_s` at most. Nothing is opened before the first."""
    return httpx.AsyncClient(timeout=timeout_s, transport=OutsideTransport(), trust_env=False)
