"""The guard that keeps tests on this machine."""

import asyncio
import socket

import pytest

from tests.loopback import LeftThisMachine
from tests.patience import GIVE_UP_S


@pytest.mark.parametrize("address", ["192.0.2.1", "8.8.8.8", "169.254.169.254"])
def test_other_machines_are_out_of_reach(address: str) -> None:
    with socket.socket() as connection, pytest.raises(LeftThisMachine, match=address):
        connection.connect((address, 80))
    with socket.socket() as connection, pytest.raises(LeftThisMachine):
        connection.connect_ex((address, 80))


async def test_asyncio_does_not_go_round_the_guard() -> None:
    with pytest.raises(LeftThisMachine):
        await asyncio.open_connection("192.0.2.1", 80)


def test_names_are_not_looked_up() -> None:
    with pytest.raises(LeftThisMachine, match="looked up"):
        socket.getaddrinfo("example.test", 80)


def test_this_machine_is_reachable() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()[:2], timeout=GIVE_UP_S),
    ):
        pass
    assert socket.getaddrinfo("localhost", 80)
