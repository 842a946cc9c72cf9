"""The network that a person signs in from: wide enough to outlast a change of address, narrow enough to be one place."""

import ipaddress

from models.base.addresses import parsed_address

IPV4_BITS = 24
"""The longest prefix that providers route, and thus what an address is drawn from anew."""
IPV6_BITS = 56
"""What a provider hands to one site (RFC 6177): a /64 changes with the router's mood, a /56 seldom."""


def network_of(address: str) -> str | None:
    """As PostgreSQL writes a `cidr`; None for what is no address."""
    parsed = parsed_address(address)
    if parsed is None:
        return None
    bits = IPV4_BITS if isinstance(parsed, ipaddress.IPv4Address) else IPV6_BITS
    return str(ipaddress.ip_network((parsed, bits), strict=False))
