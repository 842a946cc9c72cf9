"""Where a local machine serves, as its provider tells it: never where an agent of an earlier boot did."""

import asyncio
import socket
from pathlib import Path

import psutil
import pytest

from activities.adapters.local import LocalCompute
from models.ports.compute import Machine
from tests.node.creating import boot, spec
from tests.node.machine import processes_of, until
from tests.patience import GIVE_UP_S


def listened_on(folder: Path) -> set[int]:
    """Ports on which agents of the folder take connections, by the kernel's word."""
    ports: set[int] = set()
    for process in processes_of(folder):
        try:
            found = process.net_connections("tcp")
        except psutil.NoSuchProcess:
            continue
        ports |= {one.laddr.port for one in found if one.status == psutil.CONN_LISTEN}
    return ports


def is_taken_by(other: socket.socket, port: int | None) -> bool:
    """False while the kernel still cleans up after the process that had it."""
    try:
        other.bind(("127.0.0.1", port))
    except OSError:
        return False
    other.listen()
    return True


async def first_address(local: LocalCompute, machine_id: str) -> Machine:
    """The first look that tells an address."""
    async with asyncio.timeout(GIVE_UP_S):
        while True:
            machine = await local.describe(machine_id, "local")
            assert machine is not None
            if machine.port is not None:
                return machine
            await asyncio.sleep(0.005)


async def started(local: LocalCompute) -> Machine:
    made = await local.create(spec(), boot())
    return await first_address(local, made.provider_instance_id)


@pytest.mark.parametrize("work", ["reinstall", "restart_agent"])
async def test_the_first_address_after_a_new_boot_is_that_boots(local: LocalCompute, folder: Path, work: str) -> None:
    machine = await started(local)
    if work == "reinstall":
        answer = await local.reinstall(machine.provider_instance_id, spec(), boot(2))
        assert answer.port is None or answer.port in listened_on(folder)
    else:
        await local.restart_agent(machine.provider_instance_id, "local", boot(2))
    told = await first_address(local, machine.provider_instance_id)
    assert told.port in listened_on(folder)


@pytest.mark.parametrize("work", ["reinstall", "restart_agent"])
async def test_a_port_that_somebody_else_has_by_now_is_not_told(local: LocalCompute, folder: Path, work: str) -> None:
    machine = await started(local)
    assert machine.port is not None
    for process in processes_of(folder):
        process.kill()
    await until(lambda: not processes_of(folder))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await until(lambda: is_taken_by(other, machine.port))
        if work == "reinstall":
            await local.reinstall(machine.provider_instance_id, spec(), boot(2))
        else:
            await local.restart_agent(machine.provider_instance_id, "local", boot(2))
        told = await first_address(local, machine.provider_instance_id)
    assert told.port != machine.port
    assert told.port in listened_on(folder)
