"""The proxy that a call to another machine goes through, as the environment says. Nothing on this machine has one.

Of `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` the lower-case spelling precedes, as for curl. The same file is
`models/base/proxies.py` and `node/proxies.py`: an agent is a program of its own.
"""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlsplit

SPOKEN = ("http", "https")
USUAL_PORTS = {"http": 80, "https": 443}
THIS_MACHINE = frozenset({"localhost", "0.0.0.0", "::"})  # noqa: S104  (nothing listens there: it is asked for)


class UnusableProxy(ValueError):
    """The environment names a proxy for this call that cannot be used. One line, with the variable and without its value."""


@dataclass(frozen=True)
class Proxy:
    """Its text names the variable, which whoever can mend it looks for. `url` may hold a password: never log it."""

    variable: str
    url: str = field(repr=False)

    def __str__(self) -> str:
        return f"the proxy of {self.variable}"

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or USUAL_PORTS[parts.scheme]

    @property
    def is_tls(self) -> bool:
        return self.url.startswith("https:")

    @property
    def endpoint(self) -> str:
        return f"{_bracketed(self.host)}:{self.port}"

    @property
    def address(self) -> str:
        """For people: without user and password."""
        return f"{urlsplit(self.url).scheme}://{self.endpoint}"

    @property
    def credentials(self) -> tuple[str, str] | None:
        parts = urlsplit(self.url)
        return None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))


def proxy_for(url: str, environ: Mapping[str, str] = os.environ) -> Proxy | None:
    """None: the call goes there directly. Raises UnusableProxy."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    found = _named(parts.scheme, environ)
    if found is None or _is_this_machine(host) or _is_excepted(host, _port_of(parts), _first(environ, "no_proxy")[1]):
        return None
    variable, value = found
    try:
        proxy = urlsplit(value if "://" in value else f"http://{value}")
        port = _port_of(proxy)
    except ValueError:
        raise UnusableProxy(f"{variable} is not the address of a proxy") from None
    if proxy.scheme.startswith("socks"):
        instead = f"{parts.scheme.upper()}_PROXY"
        raise UnusableProxy(
            f"{variable} names a SOCKS proxy, which is not spoken: name an http:// one in {instead}, or {host} in NO_PROXY"
        )
    if proxy.scheme not in SPOKEN or not proxy.hostname:
        raise UnusableProxy(f"{variable} is not the address of a proxy, such as http://proxy.example:3128")
    return Proxy(variable, f"{proxy.scheme}://{_user_of(proxy)}{_bracketed(proxy.hostname)}:{port}")


def _named(scheme: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """The variable and its value."""
    for name in (f"{scheme}_proxy", "all_proxy"):
        variable, value = _first(environ, name)
        if value:
            return variable, value
    return None


def _first(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """The spelling that is set, and its value. An empty lower-case one hides the other."""
    spelt = name if name in environ else name.upper()
    return spelt, environ.get(spelt, "").strip()


def _is_this_machine(host: str) -> bool:
    address = _address(host)
    return host in THIS_MACHINE or (address is not None and address.is_loopback)


def _is_excepted(host: str, port: int, excepted: str) -> bool:
    return any(_covers(entry, host, port) for entry in excepted.lower().replace(",", " ").split())


def _covers(entry: str, host: str, port: int) -> bool:
    """Entries are `*`, names (which stand for those below them too), addresses and networks, each with a port or without."""
    if entry == "*":
        return True
    network = _network(entry)
    if network is None:
        name, _, its_port = entry.rpartition(":")
        if its_port.isdigit():
            if int(its_port) != port:
                return False
            entry, network = name, _network(name.strip("[]"))
    address = _address(host)
    if network is not None:
        return address is not None and address in network
    name = entry.lstrip("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return None


def _port_of(parts: SplitResult) -> int:
    return parts.port or USUAL_PORTS.get(parts.scheme, 0)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _user_of(proxy: SplitResult) -> str:
    """User and password with all escaped that a client might take for a part of the address."""
    if proxy.username is None:
        return ""
    return f"{quote(unquote(proxy.username), safe='')}:{quote(unquote(proxy.password or ''), safe='')}@"
