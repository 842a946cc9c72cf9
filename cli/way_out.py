"""The way from this machine to an API elsewhere: the proxy and the authorities that the environment names, and what fails."""

import ssl
from dataclasses import dataclass

import httpx

from cli.failures import wrong_usage
from models.base.certificates import (
    FILE,
    UnusableCertificates,
    chosen_authorities,
    is_about_certificates,
    no_authorities,
)
from models.base.proxies import Proxy, UnusableProxy, proxy_for

PROXY_WANTS_CREDENTIALS = 407

REASONS: dict[type[httpx.TransportError], str] = {
    httpx.ConnectError: "no connection",
    httpx.ConnectTimeout: "no connection in time",
    httpx.ReadTimeout: "no answer in time",
}


@dataclass(frozen=True)
class WayOut:
    """`proxy` None: there is none. `authorities` True: those that come along."""

    proxy: Proxy | None
    authorities: ssl.SSLContext | bool

    @property
    def proxy_url(self) -> str | None:
        """It may hold a password."""
        return None if self.proxy is None else self.proxy.url

    def reason(self, error: httpx.TransportError) -> str:
        """Why there was no answer, in this program's own words."""
        if is_about_certificates(error):
            return "its certificate is not trusted"
        if self.proxy is None:
            return REASONS.get(type(error), "the connection broke")
        if isinstance(error, httpx.ProxyError):
            return f"{self.proxy}, {self.proxy.address}, refused{_status_in(error)}"
        if self.is_blocked(error):
            return f"{self.proxy}, {self.proxy.address}, does not answer"
        return f"{REASONS.get(type(error), 'the connection broke')}, through {self.proxy}, {self.proxy.address}"

    def hints(self, error: httpx.TransportError) -> list[str]:
        """What helps where it is the way, and not the API, that is to be mended; otherwise nothing."""
        if is_about_certificates(error):
            return [f"{FILE} names the file with the authorities to trust."]
        if self.proxy is not None and self.is_blocked(error):
            return [f"Mend {self.proxy.variable}, or name the API's host in NO_PROXY."]
        return []

    def is_blocked(self, error: httpx.TransportError) -> bool:
        """Whether to wait is no use: it is not an API that starts anew."""
        way_there = (httpx.ProxyError, httpx.ConnectError, httpx.ConnectTimeout)
        return is_about_certificates(error) or (self.proxy is not None and isinstance(error, way_there))


def way_to(url: str) -> WayOut:
    """Raises CommandFailed where the environment names a proxy or authorities that cannot be used for it."""
    try:
        proxy = proxy_for(url)
        needs_tls = url.startswith("https:") or (proxy is not None and proxy.is_tls)
        return WayOut(proxy, chosen_authorities() or True if needs_tls else no_authorities())
    except UnusableProxy as error:
        raise wrong_usage(str(error), code="BAD_PROXY") from None
    except UnusableCertificates as error:
        raise wrong_usage(str(error), code="BAD_CERTIFICATES") from None


def _status_in(error: httpx.ProxyError) -> str:
    """The status that a proxy refused with; its own words stay behind."""
    status = str(error)[:3]
    return f" ({status})" if status.isdigit() else ""
