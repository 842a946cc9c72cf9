from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import orjson
import pytest

from tests.fakes.control_plane import ControlPlane, running_control_plane
from tests.patience import GIVE_UP_S
from tests.simcloud.cloud_process import CloudProcess, running_cloud

MODEL = "sim/echo-model"
CLOCK_SKEW_S = "7"


@pytest.fixture
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    """A cloud of this test's own: it may be killed and restarted."""
    with running_cloud(tmp_path_factory.mktemp("cloud")) as process:
        yield process


@pytest.fixture(scope="package")
def _one_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    with running_cloud(tmp_path_factory.mktemp("cloud"), "--clock-skew-s", CLOCK_SKEW_S) as process:
        yield process


@pytest.fixture
def shared_cloud(_one_cloud: CloudProcess) -> CloudProcess:
    """A cloud as on its first day, for tests that let it live."""
    _one_cloud.post("/sim/reset")
    return _one_cloud


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    async with running_control_plane() as control_plane:
        yield control_plane


@pytest.fixture(scope="session")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=GIVE_UP_S)) as client:
        yield client


@pytest.fixture
def order() -> Callable[..., dict[str, Any]]:
    def make(**changes: Any) -> dict[str, Any]:
        return {
            "name": "m",
            "zone": "local",
            "type": "mock-local-instance",
            "tags": ["t=1"],
            "user_data": "{}",
        } | changes

    return make


@pytest.fixture
def user_data() -> Callable[..., str]:
    def make(plane: ControlPlane, instance_id: str, **changes: Any) -> str:
        data = {
            "instance_id": instance_id, "control_plane_url": plane.url, "bootstrap_token": f"bootstrap-{instance_id}-1",
            "model_id": MODEL, "slots": 2, "generation": 1, "heartbeat_interval_s": 0.3,
        }  # fmt: skip
        return orjson.dumps(data | changes).decode()

    return make
