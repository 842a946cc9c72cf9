from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from activities.adapters.local import LocalCompute
from tests.fakes.control_plane import ControlPlane, running_control_plane
from tests.node.creating import compute
from tests.node.machine import INTERVAL_S, SERVING_KEY, NodeMachine, processes_of, until
from tests.patience import GIVE_UP_S


@pytest.fixture(autouse=True)
def _no_process_left_behind(tmp_path: Path) -> Iterator[None]:
    yield
    assert processes_of(tmp_path) == []


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    async with running_control_plane(interval_s=INTERVAL_S) as control_plane:
        yield control_plane


@pytest.fixture
async def machine(tmp_path: Path, plane: ControlPlane) -> AsyncIterator[Callable[..., NodeMachine]]:
    """Makes machines of one test, not started."""
    made: list[NodeMachine] = []

    def make(**changes: Any) -> NodeMachine:
        url = changes.pop("control_plane_url", plane.url)
        made.append(NodeMachine(tmp_path / f"machine-{len(made)}", url, **changes))
        return made[-1]

    yield make
    for each in made:
        await each.end()


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    """Where the machines of the provider `local` are kept; what runs there is ended."""
    path = tmp_path / "instances"
    yield path
    for process in processes_of(path):
        process.kill()
    await until(lambda: not processes_of(path))


@pytest.fixture
def local(folder: Path) -> LocalCompute:
    return compute(folder)


@pytest.fixture(scope="module")
async def module_plane() -> AsyncIterator[ControlPlane]:
    async with running_control_plane(interval_s=INTERVAL_S) as control_plane:
        yield control_plane


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory, module_plane: ControlPlane) -> AsyncIterator[NodeMachine]:
    """A machine that serves the real model for all tests of a module."""
    node = NodeMachine(tmp_path_factory.mktemp("served") / "machine", module_plane.url)
    await node.start()
    try:
        await until(module_plane.serves)
        yield node
    finally:
        await node.end()


@pytest.fixture(scope="module")
async def client(served: NodeMachine) -> AsyncIterator[aiohttp.ClientSession]:
    """Knows the serving key."""
    async with aiohttp.ClientSession(
        served.url,
        headers={"Authorization": f"Bearer {SERVING_KEY}"},
        timeout=aiohttp.ClientTimeout(total=GIVE_UP_S),
    ) as session:
        yield session
