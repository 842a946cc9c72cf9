"""Whose address it is: who counts as one caller, and who is a proxy of ours."""

import ipaddress
from collections.abc import Callable
from functools import lru_cache

from models.base.addresses import listed, parsed_address
from models.settings import Environment, Settings

IPV6_SITE_BITS = 64
"""One subscriber holds a /64: each address of it is the same caller."""
ANYBODY = "*"
IPV4_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def site_of(address: str) -> str:
    """The address, or for IPv6 its subscriber's network. What is no address is its own site."""
    parsed = parsed_address(address)
    if parsed is None:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, IPV6_SITE_BITS), strict=False))
    return str(parsed)


def trusted_hosts(trusted: str) -> list[str]:
    """`QUARTERDECK_TRUSTED_PROXIES` as uvicorn takes it: addresses, networks, or `*`.

    Those of IPv4 also as a socket or a proxy that speaks both protocols writes them: uvicorn tells the two forms apart.
    """
    entries = listed(trusted)
    return entries + [other for entry in entries if (other := _other_form(entry)) is not None]


def proxies(trusted: str) -> Callable[[str], bool]:
    """Whether an address is one of `QUARTERDECK_TRUSTED_PROXIES`."""
    entries = trusted_hosts(trusted)
    if entries == [ANYBODY]:
        return lambda _address: True
    networks = [network for entry in entries if (network := _network(entry)) is not None]

    @lru_cache(maxsize=4096)
    def is_proxy(address: str) -> bool:
        parsed = parsed_address(address)
        if parsed is None:
            return address in entries
        return any(parsed in network for network in networks)

    return is_proxy


def doubt_about_addresses(settings: Settings) -> str | None:
    """Why the addresses of callers may not be theirs in this configuration, as a line for the log."""
    if settings.environment is not Environment.PRODUCTION:
        return None
    if trusted_hosts(settings.trusted_proxies) == [ANYBODY]:
        return (
            "QUARTERDECK_TRUSTED_PROXIES is *: whoever reaches this process says which address they come from, and no limit "
            "per address holds them; name the addresses of the proxies"
        )
    if not trusted_hosts(settings.trusted_proxies):
        return (
            "QUARTERDECK_TRUSTED_PROXIES is not set: behind a reverse proxy all callers count as one address, and one of them "
            "uses up the sign-in attempts and connections of all; name the proxies' addresses, or ignore this without a proxy"
        )
    return None


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry)
    except ValueError:
        return None


def _other_form(entry: str) -> str | None:
    """Mapped into IPv6, or out of it; None for what has but one form."""
    network = _network(entry)
    if isinstance(network, ipaddress.IPv4Network):
        return f"::ffff:{network.network_address}/{IPV4_MAPPED.prefixlen + network.prefixlen}"
    if network is not None and network.subnet_of(IPV4_MAPPED):
        return f"{network.network_address.ipv4_mapped}/{network.prefixlen - IPV4_MAPPED.prefixlen}"
    return None
