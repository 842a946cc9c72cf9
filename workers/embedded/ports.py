"""Loopback ports: whether one can be had, and one that nobody uses."""

import errno
import secrets
import socket
from enum import Enum

from models.settings import Settings
from models.settings.derived import simcloud_port

LOOPBACK = "127.0.0.1"
FIRST_CHOSEN, EPHEMERAL_FROM = 20_000, 32_768
"""32768 is where Linux begins to give ports to outgoing connections (ip_local_port_range); others begin higher."""


class Obstacle(Enum):
    """Why a server could not listen on a port: what there is to say about it, and what to do, with the variable's name."""

    IN_USE = ("port {port} is in use", "stop the program that uses it, or set {variable}")
    NOT_ALLOWED = ("not allowed to listen on port {port}", "set {variable} to one from 1024 on")
    NO_ADDRESS = ("cannot listen on {host}: it is no address of this machine", "set QUARTERDECK_API_HOST")

    def __init__(self, said: str, advice: str) -> None:
        self._said, self._advice = said, advice

    def text(self, port: int, host: str = LOOPBACK) -> str:
        return self._said.format(port=port, host=host)

    def remedy(self, variable: str) -> str:
        return self._advice.format(variable=variable)


def chosen_ports(settings: Settings) -> dict[str, tuple[str, int]]:
    """Where the parts of `quarterdeck up` listen whose ports are settings: port's setting -> host and port."""
    chosen = {"api_port": (settings.api_host, settings.api_port), "simcloud_port": (LOOPBACK, simcloud_port(settings))}
    if settings.temporal_address is None:
        chosen["temporal_port"] = (LOOPBACK, settings.temporal_port)
        chosen["temporal_ui_port"] = (LOOPBACK, settings.temporal_ui_port)
    return chosen


def is_free(port: int, host: str = LOOPBACK) -> bool:
    return obstacle(port, host) is None


def obstacle(port: int, host: str = LOOPBACK) -> Obstacle | None:
    """None when a server could listen there now. Connections of an earlier server in TIME_WAIT do not count, as for servers."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return _obstacle_of(error)
    return None


def _obstacle_of(error: OSError) -> Obstacle:
    if isinstance(error, PermissionError):
        return Obstacle.NOT_ALLOWED
    is_elsewhere = error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror)
    return Obstacle.NO_ADDRESS if is_elsewhere else Obstacle.IN_USE


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
