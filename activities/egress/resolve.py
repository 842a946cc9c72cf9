"""From a host that a user gave to addresses that may be connected to, by one resolution."""

import asyncio
import socket
from ipaddress import ip_address
from typing import Final, Protocol

from models.domain.egress import Address, EgressPolicy, TargetUnreachable, literal_address, normalize_host

RESOLVE_TIMEOUT_S: Final = 5.0


class Resolver(Protocol):
    async def __call__(self, host: str) -> list[Address]:
        """Every address of the name, in the order in which they should be tried. Raises OSError."""
        ...


async def system_resolver(host: str) -> list[Address]:
    """What this machine's resolver says: hosts file, search domains and all; hence the answer is judged, never the name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))


async def checked_addresses(host: str, policy: EgressPolicy, resolve: Resolver = system_resolver) -> list[Address]:
    """The addresses to connect to, none of which may be resolved again: the second answer could be another.

    Raises EgressRefused where the policy forbids one of them, TargetUnreachable where there are none.
    """
    host = normalize_host(host)
    literal = literal_address(host)
    if literal is not None:
        addresses = [literal]
    else:
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                addresses = await resolve(host)
        except (OSError, UnicodeError):  # TimeoutError is an OSError
            addresses = []
    if not addresses:
        raise TargetUnreachable(f"{host} does not resolve to an address", details={"host": host})
    policy.check(addresses, host)
    return addresses
