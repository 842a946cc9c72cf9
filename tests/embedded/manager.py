"""The half of a service manager that `up` speaks to (sd_notify(3))."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def listening(address: str) -> Iterator[Callable[[], list[str]]]:
    """A service manager; what it was told so far."""
    told: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.setblocking(False)

        def heard_so_far() -> list[str]:
            while True:
                try:
                    told.extend(manager.recv(4096).decode().splitlines())
                except BlockingIOError:
                    return told

        yield heard_so_far
