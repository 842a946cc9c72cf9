"""The cloud's own API: what it makes, bills, refuses, forgets and never forgets."""

from __future__ import annotations

import asyncio
import math
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.patience import GIVE_UP_S
from tests.simcloud.cloud_process import CloudProcess
from tests.simcloud.waiting import until

Order = Callable[..., dict[str, Any]]


def status_of(cloud: CloudProcess, machine_id: str) -> str:
    response = cloud.http.get(f"{cloud.url}/v1/instances/{machine_id}")
    return "gone" if response.status_code == 404 else str(response.json()["status"])


async def made_active(cloud: CloudProcess, order: dict[str, Any]) -> str:
    machine_id = str(cloud.post("/v1/instances", **order)["id"])
    await until(lambda: status_of(cloud, machine_id) == "ACTIVE")
    return machine_id


class TestLifecycle:
    async def test_build_active_deleting_gone(self, shared_cloud: CloudProcess, order: Order) -> None:
        made = shared_cloud.post("/v1/instances", **order())
        assert (made["status"], made["billed_from"], made["address"]) == ("BUILD", None, None)
        await until(lambda: status_of(shared_cloud, made["id"]) == "ACTIVE")
        active = shared_cloud.get(f"/v1/instances/{made['id']}")
        assert active["address"] == {"host": "127.0.0.1", "port": shared_cloud.port}
        assert shared_cloud.delete(f"/v1/instances/{made['id']}")["status"] == "DELETING"
        await until(lambda: status_of(shared_cloud, made["id"]) == "gone")
        assert shared_cloud.http.delete(f"{shared_cloud.url}/v1/instances/{made['id']}").status_code == 404

    def test_two_posts_make_two_machines(self, shared_cloud: CloudProcess, order: Order) -> None:
        first, second = (shared_cloud.post("/v1/instances", **order()) for _ in range(2))
        assert first["id"] != second["id"]
        assert len(shared_cloud.live()) == 2

    async def test_reinstall_is_refused_unless_it_can_be_done(self, shared_cloud: CloudProcess, order: Order) -> None:
        shared_cloud.fault("create", "stuck_in_build", count=1)
        stuck = shared_cloud.post("/v1/instances", **order())["id"]
        path = f"{shared_cloud.url}/v1/instances/{stuck}"
        for action in ("reinstall", "restart-agent"):
            assert shared_cloud.http.post(f"{path}/{action}", json={"user_data": "{}"}).status_code == 409
        active = await made_active(shared_cloud, order())
        again = shared_cloud.post(f"/v1/instances/{active}/reinstall", user_data="{}", tags=["t=2"])
        assert (again["status"], again["tags"]) == ("REBUILD", ["t=2"])
        assert [m["id"] for m in shared_cloud.get("/v1/instances", tag="t=2")["instances"]] == [active]
        await until(lambda: status_of(shared_cloud, active) == "ACTIVE")

    async def test_a_reinstall_does_not_restart_the_meter(self, shared_cloud: CloudProcess, order: Order) -> None:
        active = await made_active(shared_cloud, order())
        before = shared_cloud.get(f"/v1/instances/{active}")["billed_from"]
        shared_cloud.post(f"/v1/instances/{active}/reinstall", user_data="{}")
        await until(lambda: status_of(shared_cloud, active) == "ACTIVE")
        assert shared_cloud.get(f"/v1/instances/{active}")["billed_from"] == before

    async def test_preemption_by_fault(self, shared_cloud: CloudProcess, order: Order) -> None:
        shared_cloud.fault("create", "preempted", count=1, delay_s=0.2)
        machine = await made_active(shared_cloud, order())
        await until(lambda: status_of(shared_cloud, machine) == "PREEMPTED")
        await until(lambda: status_of(shared_cloud, machine) == "gone")
        entry = shared_cloud.ledger()["machines"][0]
        assert (entry["end_reason"], entry["live"]) == ("preempted", False)
        assert entry["billed_until"] < entry["ended_at"]


class TestLists:
    def test_every_tag_and_the_zone_must_match(self, shared_cloud: CloudProcess, order: Order) -> None:
        both = shared_cloud.post("/v1/instances", **order(tags=["a", "b"]))["id"]
        shared_cloud.post("/v1/instances", **order(tags=["a"]))
        shared_cloud.post("/v1/instances", **order(tags=["a", "b"], zone="sim-b"))
        query = {"tag": ["a", "b"], "zone": "local"}
        assert [m["id"] for m in shared_cloud.get("/v1/instances", **query)["instances"]] == [both]

    def test_pages_hold_everything_once(self, shared_cloud: CloudProcess, order: Order) -> None:
        made = [shared_cloud.post("/v1/instances", **order())["id"] for _ in range(7)]
        seen, cursor = [], "0"
        while cursor:
            page = shared_cloud.get("/v1/instances", limit=3, cursor=cursor)
            assert len(page["instances"]) <= 3
            seen += [machine["id"] for machine in page["instances"]]
            cursor = page["next_cursor"]
        assert seen == made

    def test_a_lagging_machine_is_in_no_answer_and_in_the_ledger(
        self, shared_cloud: CloudProcess, order: Order
    ) -> None:
        shared_cloud.fault("create", "describe_lag", count=1, lag_s=60)
        hidden = shared_cloud.post("/v1/instances", **order())["id"]
        assert status_of(shared_cloud, hidden) == "gone"
        assert shared_cloud.get("/v1/instances")["instances"] == []
        assert shared_cloud.live() == [hidden]
        assert shared_cloud.get(f"/v1/usage/{hidden}")["ended"] is False

    def test_user_data_is_never_shown(self, shared_cloud: CloudProcess, order: Order) -> None:
        secret = "planted-user-data-secret"
        machine = shared_cloud.post("/v1/instances", **order(user_data=secret))["id"]
        for path in (f"/v1/instances/{machine}", "/v1/instances", "/sim/ledger", f"/v1/usage/{machine}"):
            assert secret not in shared_cloud.http.get(shared_cloud.url + path).text


class TestMoney:
    async def test_the_meter_runs_from_active_to_gone(self, shared_cloud: CloudProcess, order: Order) -> None:
        machine = await made_active(shared_cloud, order(type="sim-h100-1-80g", data_volume_gb=100))
        await asyncio.sleep(0.3)
        shared_cloud.delete(f"/v1/instances/{machine}")
        await until(lambda: status_of(shared_cloud, machine) == "gone")
        entry = shared_cloud.ledger()["machines"][0]
        assert entry["created_at"] < entry["billed_from"] < entry["billed_until"] == entry["ended_at"]
        by_begun_seconds = Decimal("2.73") * math.ceil(seconds(entry)) / 3600
        assert Decimal(entry["amount_eur"]) == by_begun_seconds.quantize(Decimal("0.000001"), ROUND_HALF_UP)
        volumes = shared_cloud.ledger()["volumes"]
        assert sorted(volume["size_gb"] for volume in volumes) == [40, 100]
        assert all(volume["billed_from"] == entry["created_at"] and volume["billed_until"] for volume in volumes)
        assert {volume["price_eur_per_hour"] for volume in volumes} == {"0.002360", "0.005900"}

    async def test_a_new_price_is_for_new_machines(self, shared_cloud: CloudProcess, order: Order) -> None:
        old = await made_active(shared_cloud, order(type="sim-l4-1-24g"))
        shared_cloud.put("/sim/offers/local/sim-l4-1-24g", price_eur_per_hour="1.5")
        new = await made_active(shared_cloud, order(type="sim-l4-1-24g"))
        prices = {machine["id"]: machine["price_eur_per_hour"] for machine in shared_cloud.ledger()["machines"]}
        assert prices == {old: "0.75", new: "1.5"}

    async def test_what_never_ran_costs_nothing_and_what_is_off_costs(
        self, shared_cloud: CloudProcess, order: Order
    ) -> None:
        shared_cloud.fault("create", "build_error", count=1)
        failed = shared_cloud.post("/v1/instances", **order(type="sim-h100-1-80g"))["id"]
        await until(lambda: status_of(shared_cloud, failed) == "ERROR")
        stopped = await made_active(shared_cloud, order(type="sim-h100-1-80g"))
        shared_cloud.post(f"/sim/instances/{stopped}/stop")
        await asyncio.sleep(0.2)
        amounts = {machine["id"]: Decimal(machine["amount_eur"]) for machine in shared_cloud.ledger()["machines"]}
        assert amounts[failed] == 0
        assert amounts[stopped] > 0

    def test_groups_tell_live_from_ended(self, shared_cloud: CloudProcess, order: Order) -> None:
        one, two = (shared_cloud.post("/v1/instances", **order(tags=["owner=1", "x"]))["id"] for _ in range(2))
        shared_cloud.post(f"/sim/instances/{one}/kill")
        groups = shared_cloud.ledger(group_prefix="owner=")["groups"]
        assert groups == {
            "owner=1": {"live_machines": [two], "ended_machines": [one], "live_volumes": [], "ended_volumes": []}
        }

    def test_capacity_is_given_back(self, shared_cloud: CloudProcess, order: Order) -> None:
        shared_cloud.put("/sim/offers/local/sim-l40s-1-48g", capacity=1)
        first = shared_cloud.post("/v1/instances", **order(type="sim-l40s-1-48g"))["id"]
        full = shared_cloud.http.post(f"{shared_cloud.url}/v1/instances", json=order(type="sim-l40s-1-48g"))
        assert (full.status_code, full.json()["code"]) == (409, "no_capacity")
        shared_cloud.post(f"/sim/instances/{first}/kill")
        assert shared_cloud.post("/v1/instances", **order(type="sim-l40s-1-48g"))["status"] == "BUILD"


class TestFaults:
    def test_count_zone_and_type_limit_a_fault(self, shared_cloud: CloudProcess, order: Order) -> None:
        shared_cloud.fault("create", "error_before", count=1, zone="sim-b", type="sim-l4-1-24g")
        url = f"{shared_cloud.url}/v1/instances"
        elsewhere = [order(), order(zone="sim-b"), order(type="sim-l4-1-24g")]
        assert [shared_cloud.http.post(url, json=each).status_code for each in elsewhere] == [201, 201, 201]
        there = order(zone="sim-b", type="sim-l4-1-24g")
        assert [shared_cloud.http.post(url, json=there).status_code for _ in range(2)] == [500, 201]

    def test_the_same_seed_throws_the_same_dice(self, shared_cloud: CloudProcess, order: Order) -> None:
        def run(seed: int) -> list[int]:
            shared_cloud.delete("/sim/faults")
            shared_cloud.fault("list", "error_before", probability=0.5, seed=seed)
            return [shared_cloud.http.get(f"{shared_cloud.url}/v1/instances").status_code for _ in range(40)]

        assert run(7) == run(7)
        assert run(7) != run(8)
        assert 8 < run(7).count(500) < 32

    def test_faults_are_listed_with_what_they_did_and_taken_away(self, shared_cloud: CloudProcess) -> None:
        shared_cloud.fault("list", "throttled", count=2, retry_after_s=3)
        response = shared_cloud.http.get(f"{shared_cloud.url}/v1/instances")
        assert (response.status_code, response.headers["Retry-After"]) == (429, "3")
        (fault,) = shared_cloud.get("/sim/faults")["faults"]
        assert (fault["class"], fault["kind"], fault["remaining"], fault["fired"]) == ("list", "throttled", 1, 1)
        assert shared_cloud.delete(f"/sim/faults/{fault['id']}") == {"faults": []}
        assert shared_cloud.get("/v1/instances")["instances"] == []

    @pytest.mark.parametrize(
        "body",
        [
            {"class": "create", "kind": "no_such_kind"},
            {"class": "list", "kind": "no_capacity"},
            {"class": "create", "kind": "slow", "count": 0},
            {"class": "create", "kind": "slow", "probability": 2},
            {"class": "create", "kind": "slow", "delay_s": -1},
            {"class": "create", "kind": "slow", "delay": 1},
            {"class": "create", "kind": "slow", "zone": 5},
            {"class": ["create"], "kind": "slow"},
            {},
        ],
    )
    def test_a_fault_that_means_nothing_is_refused(self, shared_cloud: CloudProcess, body: dict[str, Any]) -> None:
        assert shared_cloud.http.post(f"{shared_cloud.url}/sim/faults", json=body).status_code == 422


class TestBadInput:
    @pytest.mark.parametrize(
        "change",
        [
            {"name": ""}, {"name": 5}, {"zone": "nowhere"}, {"type": "nothing"}, {"tags": "a"}, {"tags": [1]},
            {"tags": ["x" * 257]}, {"tags": ["x"] * 51}, {"user_data": {}}, {"user_data": "x" * 70_000},
            {"data_volume_gb": -1}, {"data_volume_gb": True}, {"data_volume_gb": 1.5}, {"flavour": "x"},
        ],
    )  # fmt: skip
    def test_an_order_that_cannot_be_met_is_refused(
        self, shared_cloud: CloudProcess, order: Order, change: dict[str, Any]
    ) -> None:
        refused = shared_cloud.http.post(f"{shared_cloud.url}/v1/instances", json=order(**change))
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid")
        assert shared_cloud.ledger()["machines"] == []

    @pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"5"])
    def test_a_body_that_is_no_object(self, shared_cloud: CloudProcess, content: bytes) -> None:
        refused = shared_cloud.http.post(f"{shared_cloud.url}/v1/instances", content=content)
        assert (refused.status_code, refused.json()["code"]) == (400, "malformed")

    @pytest.mark.parametrize("query", ["cursor=x", "limit=0", "limit=9999", "cursor=-1", "limit=", "zone=", "tag="])
    def test_odd_queries_are_answered(self, shared_cloud: CloudProcess, query: str) -> None:
        assert shared_cloud.http.get(f"{shared_cloud.url}/v1/instances?{query}").status_code in (200, 400)

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/v1/instances"), ("POST", "/v1/instances"), ("GET", "/v1/zones"), ("GET", "/v1/usage/x"),
            ("GET", "/sim/ledger"), ("POST", "/sim/reset"), ("GET", "/nothing"), ("GET", "/v1/models/"),
        ],
    )  # fmt: skip
    def test_nothing_without_the_token(self, shared_cloud: CloudProcess, method: str, path: str) -> None:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}):
            with httpx.Client(trust_env=False) as stranger:
                refused = stranger.request(method, shared_cloud.url + path, headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")

    def test_what_does_not_exist_is_404(self, shared_cloud: CloudProcess) -> None:
        for path in ("/v1/instances/x", "/v1/usage/x", "/sim/instances/x/agent", "/nothing"):
            assert shared_cloud.http.get(shared_cloud.url + path).status_code == 404


class TestKill:
    async def test_nothing_accepted_is_lost(self, cloud: CloudProcess, order: Order) -> None:
        cloud.fault("create", "stuck_in_build", count=3)
        cloud.put("/sim/offers/local/sim-l4-1-24g", price_eur_per_hour="9", capacity=5)
        made = [cloud.post("/v1/instances", **order(type="sim-l4-1-24g", data_volume_gb=1))["id"] for _ in range(2)]
        cloud.kill()
        cloud.start()
        assert cloud.live() == made
        assert cloud.get("/sim/faults")["faults"][0]["remaining"] == 1
        offers = {offer["code"]: offer for offer in cloud.get("/v1/types", zone="local")["types"]}
        assert (offers["sim-l4-1-24g"]["price_eur_per_hour"], offers["sim-l4-1-24g"]["free"]) == ("9", 3)

    async def test_what_was_under_way_goes_on(self, cloud: CloudProcess, order: Order) -> None:
        building = cloud.post("/v1/instances", **order())["id"]
        going = await made_active(cloud, order())
        cloud.delete(f"/v1/instances/{going}")
        cloud.kill()
        cloud.start()
        await until(lambda: status_of(cloud, building) == "ACTIVE")
        await until(lambda: status_of(cloud, going) == "gone")
        assert cloud.live() == [building]

    async def test_killed_at_any_moment_what_was_answered_exists(self, cloud: CloudProcess, order: Order) -> None:
        for _ in range(3):
            answered = [cloud.post("/v1/instances", **order())["id"] for _ in range(20)]
            cloud.kill()
            cloud.start()
            assert set(answered) <= set(cloud.live())


class TestProcess:
    def test_stops_within_two_seconds_of_sigterm(self, cloud: CloudProcess, order: Order) -> None:
        cloud.fault("create", "slow", delay_s=30)
        with (
            httpx.Client(headers=cloud.http.headers, timeout=0.3, trust_env=False) as client,
            pytest.raises(httpx.ReadTimeout),
        ):
            client.post(f"{cloud.url}/v1/instances", json=order())
        assert cloud.stop() == 0

    def test_a_taken_port_is_one_clear_line(self, cloud: CloudProcess, tmp_path: Path) -> None:
        assert_refused("--port", str(cloud.port), "--db", str(tmp_path / "other.db"))

    def test_a_storage_in_use_is_one_clear_line(self, cloud: CloudProcess) -> None:
        assert_refused("--port", "0", "--db", str(cloud.database))

    def test_what_is_no_http_costs_the_log_ten_lines_a_minute(self, cloud: CloudProcess) -> None:
        for _ in range(40):
            with socket.create_connection(("127.0.0.1", cloud.port), timeout=GIVE_UP_S) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nno header\r\n\r\n")
                while connection.recv(65_536):
                    pass
        assert cloud.log().count("a malformed request") == 10
        assert "Traceback" not in cloud.log()

    def test_an_unusable_path_is_one_clear_line(self) -> None:
        assert_refused("--port", "0", "--db", "/proc/no-such-folder/cloud.db")

    def test_storage_and_token_are_private(self, cloud: CloudProcess, tmp_path: Path) -> None:
        assert cloud.database.stat().st_mode & 0o077 == 0
        first, second = (started_token(tmp_path) for _ in range(2))
        assert first == second
        assert len(first) >= 32
        assert (tmp_path / "own.db.token").stat().st_mode & 0o077 == 0


def started_token(folder: Path) -> str:
    command = [sys.executable, "-m", "simcloud", "--port", "0", "--db", str(folder / "own.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("simulated cloud listening")
        process.terminate()
        process.wait(GIVE_UP_S)
    return (folder / "own.db.token").read_text().strip()


def assert_refused(*arguments: str) -> None:
    command = [sys.executable, "-m", "simcloud", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=GIVE_UP_S, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("simcloud: ")
    assert done.stderr.count("\n") == 1


def seconds(entry: dict[str, Any]) -> float:
    begin, end = (datetime.fromisoformat(entry[name]) for name in ("billed_from", "billed_until"))
    return (end - begin).total_seconds()
