"""Loopback ports: whether one can be had, and one that nobody uses."""

import secrets
import socket

LOOPBACK = "127.0.0.1"
FIRST_CHOSEN, EPHEMERAL_FROM = 20_000, 32_768
"""32768 is where Linux begins to give ports to outgoing connections (ip_local_port_range); others begin higher."""


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen there now. Connections of an earlier server in TIME_WAIT do not count, as for servers."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that was free a moment ago and that the system gives to nobody unasked.

    A port of the ephemeral range would be taken, sooner or later, by an outgoing connection while its server restarts.
    """
    while True:
        port = FIRST_CHOSEN + secrets.randbelow(EPHEMERAL_FROM - FIRST_CHOSEN)
        if is_free(port):
            return port


def accepts(port: int, host: str = LOOPBACK, timeout_s: float = 1.0) -> bool:
    try:
        with socket.create_connection((host, port), timeout=timeout_s):
            return True
    except OSError:
        return False
