"""Whose address it is: who counts as one caller, and who is a proxy of ours."""

import ipaddress
from collections.abc import Callable
from functools import lru_cache

IPV6_SITE_BITS = 64
"""One subscriber holds a /64: each address of it is the same caller."""


def site_of(address: str) -> str:
    """The address, or for IPv6 its subscriber's network. What is no address is its own site."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, IPV6_SITE_BITS), strict=False))
    return str(parsed)


def proxies(trusted: str) -> Callable[[str], bool]:
    """Whether an address is one of `QUARTERDECK_TRUSTED_PROXIES`, read as uvicorn reads them: addresses, networks, or `*`."""
    entries = [entry.strip() for entry in trusted.split(",") if entry.strip()]
    if entries == ["*"]:
        return lambda _address: True
    networks = [network for entry in entries if (network := _network(entry)) is not None]

    @lru_cache(maxsize=4096)
    def is_proxy(address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return address in entries
        return any(parsed in network for network in networks)

    return is_proxy


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry)
    except ValueError:
        return None
