"""From start to end: registration, phases, outages, refusals, kills."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp
import psutil
import pytest

from activities.adapters.local.processes import launch
from node.status import Status
from tests.fakes.control_plane import ControlPlane, running_control_plane
from tests.node.machine import (
    BOOTSTRAP_TOKEN,
    INSTANCE_ID,
    MODEL_ID,
    SERVING_KEY,
    WORKER_TOKEN,
    NodeMachine,
    living,
    until,
)
from tests.patience import GIVE_UP_S
from tests.signals import PYTHON_IGNORES, blocked_and_ignored_by, ignored_and_blocked

MachineFactory = Callable[..., NodeMachine]


async def served_models(node: NodeMachine) -> int:
    headers = {"Authorization": f"Bearer {SERVING_KEY}"}
    async with aiohttp.request("GET", f"{node.url}/v1/models", headers=headers) as response:
        return response.status


async def health(node: NodeMachine) -> int:
    async with aiohttp.request("GET", f"{node.url}/health") as response:
        return response.status


async def rest_of(response: aiohttp.ClientResponse) -> bytes:
    """What still comes until the end of the connection, which may be none of HTTP's."""
    received = b""
    with contextlib.suppress(aiohttp.ClientError):
        async for chunk in response.content.iter_any():
            received += chunk
    return received


class TestReporting:
    async def test_it_registers_and_reports_each_phase_in_order(
        self, machine: MachineFactory, plane: ControlPlane
    ) -> None:
        node = machine()
        await node.start()
        await until(plane.serves)
        (registration,) = plane.attempts
        assert registration.token == BOOTSTRAP_TOKEN
        assert registration.body["instance_id"] == "01990000-0000-7000-8000-000000000001"
        assert registration.body["model_id"] == MODEL_ID
        assert registration.body["vllm_port"] == node.status["port"]
        assert registration.body["boot_id"] == node.status["boot_id"]
        lost = (
            "heartbeat: " in node.log
        )  # a machine so busy that one was not answered in time: history is of no interest then
        assert lost or plane.phases() == ["preparing", "loading_model", "warming_up", "serving"]
        assert {beat.token for beat in plane.beats} == {WORKER_TOKEN}
        statuses = {beat.body["phase"]: beat.body["status"] for beat in plane.beats}
        assert statuses.pop("serving") == "ready"
        assert set(statuses.values()) == {"starting"}
        assert node.status["state"] == "serving"

    async def test_its_figures_are_this_machines(self, machine: MachineFactory, plane: ControlPlane) -> None:
        node = machine()
        await node.start()
        await until(lambda: len(plane.beats) > 3)
        system = plane.beats[-1].body["metadata"]["system"]
        assert system["mem_total_bytes"] == psutil.virtual_memory().total
        assert 0 < system["mem_used_bytes"] < system["mem_total_bytes"]
        assert 0 < system["disk_used_bytes"] < system["disk_total_bytes"]
        assert 0 <= system["cpu_usage_pct"] <= 100
        assert system["net_rx_bps"] > 0, "its own heartbeats cross the loopback interface"

    async def test_secrets_are_the_owners_alone(self, machine: MachineFactory, plane: ControlPlane) -> None:
        node = machine()
        await node.start()
        await until(plane.serves)
        assert {name: oct(mode) for name, mode in node.modes().items() if mode & 0o077} == {}
        for secret in (BOOTSTRAP_TOKEN, WORKER_TOKEN, SERVING_KEY):
            for process in (node.agent, *node.model_servers()):
                assert secret not in " ".join(process.cmdline())
                assert secret not in " ".join(process.environ().values())
            assert secret not in (node.home / "agent.json").read_text()


class TestOutages:
    async def test_a_control_plane_that_comes_late_is_waited_for(self, machine: MachineFactory) -> None:
        async with running_control_plane() as first:
            port = int(first.url.rsplit(":", 1)[1])
        node = machine(control_plane_url=f"http://127.0.0.1:{port}")
        await node.start()
        await until(lambda: "again in" in node.log)
        async with running_control_plane(port) as plane:
            await until(plane.serves)

    @pytest.mark.parametrize("status", [409, 503])
    async def test_a_registration_is_repeated_with_the_same_nonce(
        self, machine: MachineFactory, plane: ControlPlane, status: int
    ) -> None:
        plane.register_status = status
        node = machine()
        await node.start()
        await until(lambda: plane.refused >= 2)
        plane.register_status = 200
        await until(lambda: plane.beats)
        assert len({each.body["nonce"] for each in plane.attempts}) == 1
        assert len(plane.attempts) >= 3
        assert node.alive

    async def test_it_goes_on_serving_and_reports_again(self, machine: MachineFactory, plane: ControlPlane) -> None:
        node = machine()
        await node.start()
        await until(plane.serves)
        plane.heartbeat_status = 503
        await until(lambda: plane.refused >= 2)
        assert await served_models(node) == 200
        told = len(plane.beats)
        plane.heartbeat_status = 200
        await until(lambda: len(plane.beats) > told)
        assert plane.beats[-1].body["status"] == "ready"

    async def test_restarted_it_is_the_same_agent_and_serves_without_the_control_plane(
        self, machine: MachineFactory, plane: ControlPlane
    ) -> None:
        node = machine()
        await node.start()
        await until(plane.serves)
        before, port = plane.attempts[0].body, node.status["port"]
        node.agent.kill()
        await until(lambda: not node.alive)
        plane.register_status = 503
        await node.start()
        await until(lambda: node.status["state"] == "serving")
        assert await served_models(node) == 200
        plane.register_status = 200
        await until(lambda: plane.attempts[-1].body["boot_id"] == node.status["boot_id"])
        after = plane.attempts[-1]
        assert after.token == WORKER_TOKEN
        assert (after.body["nonce"], after.body["worker_id"]) == (before["nonce"], before["worker_id"])
        assert after.body["boot_id"] != before["boot_id"]
        assert node.status["port"] == port

    async def test_one_that_is_not_known_any_more_registers_again_and_goes_on(
        self, machine: MachineFactory, plane: ControlPlane
    ) -> None:
        """Its control plane is of a time before it registered: only the bootstrap token is known there."""
        node = machine()
        await node.start()
        await until(plane.serves)
        plane.revoked.add(INSTANCE_ID)
        await until(lambda: not plane.revoked)
        heard = len(plane.beats)
        await until(lambda: len(plane.beats) > heard)
        assert [one.token for one in plane.attempts] == [BOOTSTRAP_TOKEN, WORKER_TOKEN, BOOTSTRAP_TOKEN]
        assert len({one.body["boot_id"] for one in plane.attempts}) == 1
        assert plane.beats[-1].body["status"] == "ready"
        assert await health(node) == 200


class TestDisk:
    async def test_on_a_full_disk_it_serves_on_and_catches_up(
        self, machine: MachineFactory, plane: ControlPlane
    ) -> None:
        """No file of it may grow, as on a full disk. It joins once it can remember by which token."""
        plane.register_status = 503
        node = machine()
        await node.start()
        await until(lambda: plane.refused)
        agent, unlimited = node.agent, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY)
        agent.rlimit(psutil.RLIMIT_FSIZE, (0, psutil.RLIM_INFINITY))
        plane.register_status = 200
        await until(lambda: len(plane.attempts) - plane.refused > 1)
        assert len({str(asked.body["nonce"]) for asked in plane.attempts}) == 1
        assert not plane.beats
        agent.rlimit(psutil.RLIMIT_FSIZE, unlimited)
        await until(plane.serves)
        agent.rlimit(psutil.RLIMIT_FSIZE, (0, psutil.RLIM_INFINITY))
        [server] = node.model_servers()
        server.kill()
        await until(lambda: not plane.serves())
        await until(plane.serves)
        assert await served_models(node) == 200
        assert (node.agent.pid, sorted(node.home.glob(".agent.json.*"))) == (agent.pid, [])

    async def test_what_the_disk_refused_is_written_later(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        status = Status(tmp_path, generation=1, machine_key="key")

        def refuse(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as full:
            full.setattr("node.status.write_json", refuse)
            status.listening("127.0.0.1", 1)
            status.enter("serving")
            status.catch_up()
            assert caplog.text.count("agent.json cannot be written: No space left on device") == 1
        status.catch_up()
        written = json.loads((tmp_path / "agent.json").read_text())
        assert (written["port"], written["state"]) == (1, "serving")


class TestEnds:
    @pytest.mark.parametrize("status", [401, 404])
    async def test_an_agent_that_is_let_go_stops_serving(
        self, machine: MachineFactory, plane: ControlPlane, status: int
    ) -> None:
        node = machine()
        await node.start()
        await until(plane.serves)
        plane.heartbeat_status = status
        await until(lambda: not node.alive)
        assert node.status["state"] == "stopped"
        with pytest.raises(aiohttp.ClientConnectionError):
            await health(node)

    @pytest.mark.parametrize("status", [401, 404])
    async def test_a_refused_first_registration_is_a_failure(
        self, machine: MachineFactory, plane: ControlPlane, status: int
    ) -> None:
        plane.register_status = status
        node = machine()
        await node.start()
        await until(lambda: not node.alive)
        assert node.status["state"] == "failed"
        assert str(status) in node.status["error"]

    async def test_a_revoked_worker_token_at_a_restart_is_an_end_not_a_failure(
        self, machine: MachineFactory, plane: ControlPlane
    ) -> None:
        node = machine()
        await node.start()
        await until(lambda: plane.beats)
        node.agent.kill()
        await until(lambda: not node.alive)
        plane.register_status = 401
        await node.start()
        await until(lambda: not node.alive)
        assert node.status["state"] == "stopped"

    async def test_sigterm_ends_it_in_time_whatever_is_in_flight(
        self, machine: MachineFactory, plane: ControlPlane
    ) -> None:
        node = machine()
        await node.start()
        await until(plane.serves)
        body = {"model": MODEL_ID, "prompt": "Count", "max_tokens": 900, "ignore_eos": True, "stream": True}
        headers = {"Authorization": f"Bearer {SERVING_KEY}"}
        async with aiohttp.request("POST", f"{node.url}/v1/completions", json=body, headers=headers) as response:
            await response.content.readline()
            servers = node.model_servers()
            node.agent.terminate()
            await until(lambda: not node.alive)
            assert b"[DONE]" not in await rest_of(response), "it waited for the generation"
        await until(lambda: not any(living(server) for server in servers))
        assert node.status["state"] == "stopped"

    async def test_killed_it_takes_its_model_server_along(self, machine: MachineFactory, plane: ControlPlane) -> None:
        node = machine()
        await node.start()
        await until(plane.serves)
        (server,) = node.model_servers()
        node.agent.kill()
        await until(lambda: not node.alive)
        await until(lambda: not living(server))

    async def test_killed_while_it_loads_it_leaves_nothing(self, machine: MachineFactory, plane: ControlPlane) -> None:
        node = machine()
        await node.start()
        servers = await until(node.model_servers)
        node.agent.kill()
        await until(lambda: not any(living(server) for server in servers))

    async def test_a_dead_model_server_is_replaced(self, machine: MachineFactory, plane: ControlPlane) -> None:
        node = machine()
        await node.start()
        await until(plane.serves)
        (server,) = node.model_servers()
        server.kill()
        await until(lambda: not plane.serves())
        await until(plane.serves)
        assert await served_models(node) == 200
        assert node.model_servers() != [server]


class TestModelFiles:
    @pytest.mark.parametrize("content", [None, b"not a model", b"GGUF\x03\x00\x00\x00" + b"\xff" * 64])
    async def test_one_that_cannot_be_served_fails_the_machine(
        self, machine: MachineFactory, plane: ControlPlane, tmp_path: Path, content: bytes | None
    ) -> None:
        file = tmp_path / "model.gguf"
        if content is not None:
            file.write_bytes(content)
        node = machine(model_file=str(file))
        await node.start()
        await until(lambda: not node.alive)
        assert node.status["state"] == "failed"
        assert "model.gguf" in node.status["error"]
        (report,) = [beat.body for beat in plane.beats if "error" in beat.body["metadata"]]
        assert (report["status"], report["phase"]) == ("starting", "loading_model")
        assert report["metadata"]["error"] == node.status["error"]
        assert [line for line in node.log.splitlines() if " ERROR " in line] == [node.log.splitlines()[-1]]

    @pytest.mark.parametrize("boot", ["{", "[]", '{"instance_id": 5}'])
    async def test_bad_boot_data_is_one_clear_line(self, machine: MachineFactory, boot: str) -> None:
        node = machine()
        (node.home / "boot.json").write_text(boot)
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "node", "--home", str(node.home)],
            check=False,
            capture_output=True,
            timeout=GIVE_UP_S,
        )
        assert (done.returncode, done.stderr) == (2, b"")
        (line,) = node.log.splitlines()
        assert "boot.json" in line

    async def test_boot_data_that_others_could_have_written_is_not_believed(self, machine: MachineFactory) -> None:
        node = machine()
        (node.home / "boot.json").chmod(0o664)
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-m", "node", "--home", str(node.home)], check=False, timeout=GIVE_UP_S
        )
        assert done.returncode == 2
        (line,) = node.log.splitlines()
        assert "boot.json is open to others or not ours" in line


async def test_what_a_worker_without_a_supervisor_ignores_or_blocks_is_not_the_agents(
    machine: MachineFactory, plane: ControlPlane
) -> None:
    node = machine()
    with ignored_and_blocked(signal.SIGHUP):
        launch(node.home)
    await until(plane.serves)
    for process in (node.agent, *node.model_servers()):
        assert blocked_and_ignored_by(process.pid) == (0, PYTHON_IGNORES), process.cmdline()
    node.agent.send_signal(signal.SIGINT)
    await until(lambda: not node.alive)
    assert node.status["state"] == "stopped"


async def test_only_one_agent_runs_in_a_folder(machine: MachineFactory, plane: ControlPlane) -> None:
    node = machine()
    await node.start()
    first = node.status
    command = [sys.executable, "-m", "node", "--home", str(node.home)]
    done = await asyncio.to_thread(subprocess.run, command, check=False, capture_output=True, timeout=GIVE_UP_S)
    assert done.returncode == 3
    assert node.status["pid"] == first["pid"]
    await until(lambda: plane.attempts)
    assert {each.body["boot_id"] for each in plane.attempts} == {first["boot_id"]}


async def test_a_detached_agent_is_nobodys_child(machine: MachineFactory) -> None:
    node = machine()
    await node.start()
    assert node.agent.ppid() != os.getpid()
    assert os.getsid(node.agent.pid) != os.getsid(0)
    assert os.getpgid(node.agent.pid) == node.agent.pid
    node.agent.send_signal(signal.SIGTERM)
    await until(lambda: not node.alive)
