"""The cloud's limit on calls, and its count of them: what the tests of a throttled customer are judged by."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from simcloud.calls import Calls, Rate, rate_of
from simcloud.errors import Rejected, Throttled
from tests.simcloud.cloud_process import CloudProcess


@pytest.fixture
def cloud(shared_cloud: CloudProcess) -> Iterator[CloudProcess]:
    yield shared_cloud
    shared_cloud.delete("/sim/rate")


def counts(cloud: CloudProcess) -> tuple[int, int]:
    shown = cloud.get("/sim/calls")
    return shown["received"], shown["throttled"]


def test_calls_beyond_the_limit_are_429_and_counted(cloud: CloudProcess) -> None:
    received, throttled = counts(cloud)
    rate = {"calls_per_s": 0.001, "burst": 2, "retry_after_s": 7}
    assert cloud.http.put(f"{cloud.url}/sim/rate", json=rate).json() == rate
    answers = [cloud.http.get(f"{cloud.url}/v1/{path}") for path in ("zones", "types", "instances", "volumes")]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert {answer.headers["retry-after"] for answer in answers[2:]} == {"7"}
    assert counts(cloud) == (received + 4, throttled + 2)
    cloud.delete("/sim/rate")
    assert cloud.http.get(f"{cloud.url}/v1/zones").status_code == 200


def test_calls_that_a_fault_throttles_are_counted_too(cloud: CloudProcess) -> None:
    received, throttled = counts(cloud)
    cloud.fault("list", "throttled", count=1)
    assert [cloud.http.get(f"{cloud.url}/v1/instances").status_code for _ in range(2)] == [429, 200]
    assert counts(cloud) == (received + 2, throttled + 1)
    assert cloud.get("/sim/calls")["calls"]["list"]["throttled"] >= 1


@pytest.mark.parametrize(
    "body", [{}, {"calls_per_s": 0}, {"calls_per_s": 1, "burst": 0}, {"calls_per_s": 1, "rate": 2}]
)
def test_a_limit_that_means_nothing_is_refused(cloud: CloudProcess, body: dict[str, float]) -> None:
    assert cloud.http.put(f"{cloud.url}/sim/rate", json=body).status_code == 422
    with pytest.raises(Rejected):
        rate_of(body)


def test_the_bucket_fills_with_time_and_no_further_than_its_size() -> None:
    now = 0.0
    calls = Calls(lambda: now)
    calls.limit(Rate(calls_per_s=2.0, burst=3))

    def taken() -> int:
        count = 0
        with suppress(Throttled):
            while count < 10:
                calls._take()
                count += 1
        return count

    assert taken() == 3
    now = 1.0
    assert taken() == 2
    now = 100.0
    assert taken() == 3
