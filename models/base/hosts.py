"""Names of hosts, as URLs carry them."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether the host is this machine by an address or by the name that means it everywhere. Nothing is resolved."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
