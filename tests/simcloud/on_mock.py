"""The `mock` adapter on a real simulated cloud, for suites of the compute port. A module that uses it has a fixture `cloud`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import httpx
import pytest
from pydantic import SecretStr

from activities.adapters.mock import CloudClient, MockCompute, client
from models.base.errors import AppError
from models.ports.compute import Machine
from tests.contract.compute_port import Fixtures
from tests.simcloud.cloud_process import TOKEN, CloudProcess

WINDOW_S = 0.2


class OnMock(Fixtures):
    @pytest.fixture
    async def http(self) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as made:
            yield made

    @pytest.fixture
    def compute_with(self, cloud: CloudProcess, http: httpx.AsyncClient) -> Callable[..., MockCompute]:
        def make(token: str = TOKEN, window_s: float = WINDOW_S, url: str = "") -> MockCompute:
            told = CloudClient(http, base_url=url or cloud.url, token=SecretStr(token))
            return MockCompute(told, consistency_window_s=window_s)

        return make

    @pytest.fixture
    def compute(self, compute_with: Callable[..., MockCompute]) -> MockCompute:
        return compute_with()

    @pytest.fixture
    def pages_of_two(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client, "PAGE", 2)

    @pytest.fixture
    def zone(self) -> str:
        return "local"

    @pytest.fixture
    def instance_type(self) -> str:
        return "sim-l4-1-24g"

    @pytest.fixture(autouse=True)
    def _no_faults(self, cloud: CloudProcess, _leaves_nothing: None) -> Iterator[None]:
        yield
        cloud.delete("/sim/faults")


async def retried(attempt: Callable[[], Awaitable[Machine]]) -> Machine:
    """What the retry policy of the activity does: again, as long as the error says that it can help."""
    for _ in range(10):
        try:
            return await attempt()
        except AppError as error:
            if not error.retryable:
                raise
    raise AssertionError("ten attempts were not enough")
