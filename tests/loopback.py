"""Tests talk to this machine only: a connection or a name look-up that leaves it fails, naming the address."""

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LOCAL_NAMES = frozenset({"localhost", "", socket.gethostname()})


class LeftThisMachine(RuntimeError):
    """A test tried to reach another machine."""


def refuse_elsewhere(host: object) -> None:
    """Raises LeftThisMachine unless `host` is a loopback address, a name of this machine, or the wildcard."""
    name = host.decode() if isinstance(host, bytes) else host
    if name is None or name in LOCAL_NAMES:
        return
    try:
        address = ipaddress.ip_address(str(name).partition("%")[0])
    except ValueError:
        raise LeftThisMachine(f"a test looked up {name!r}") from None
    if not (address.is_loopback or address.is_unspecified):
        raise LeftThisMachine(f"a test connected to {name}")


@contextmanager
def loopback_only() -> Iterator[None]:
    """Inside the block Python's sockets reach this machine only. Native clients (libpq, Temporal's core) are not covered."""
    connect, connect_ex, look_up = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _check(self, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _check(self, address)
        return connect_ex(self, address)

    def guarded_look_up(host: Any, *arguments: Any, **options: Any) -> Any:
        refuse_elsewhere_unless_numeric(host)
        return look_up(host, *arguments, **options)

    socket.socket.connect = guarded_connect  # type: ignore[assignment, method-assign]
    socket.socket.connect_ex = guarded_connect_ex  # type: ignore[assignment, method-assign]
    socket.getaddrinfo = guarded_look_up
    try:
        yield
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]
        socket.socket.connect_ex = connect_ex  # type: ignore[method-assign]
        socket.getaddrinfo = look_up


def refuse_elsewhere_unless_numeric(host: object) -> None:
    """Turning digits into an address asks nobody; only names leave the machine."""
    try:
        ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        refuse_elsewhere(host)


def _check(connection: socket.socket, address: Any) -> None:
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        refuse_elsewhere(address[0])
