"""The provider `local` when the processes that use it, or its agents, are killed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from activities.adapters.local import LocalCompute, processes
from activities.adapters.local.processes import is_alive
from models.base.errors import ProviderRejected, ProviderUnavailable
from models.ports.compute import Machine, MachineState
from tests.node.creating import INSTALLATION, INSTANCE, boot, compute, spec
from tests.node.machine import living, processes_of, until
from tests.patience import GIVE_UP_S

STEPS = 60
IN_STRIDES_OF = {"create": 6, "delete": 7, "reinstall": 17, "restart": 11}
"""A kill at every so many steps, to take seconds. After a change to the adapter set them to 1 once: that takes two minutes."""


def kill_points(first: int, job: str) -> Iterator[int]:
    """Where to kill it, ever later until it gets through: each look at what it waits for is a step, and on a machine that is busy
    there are many.
    """
    yield from range(first, STEPS, IN_STRIDES_OF[job])
    yield from (STEPS * 2**times for times in range(8))


async def in_a_process(folder: Path, job: str, step: int) -> bool:
    """Whether it got through. A SIGKILL at `step` is the only other way it may end."""
    command = [sys.executable, "-m", "tests.node.creating", str(folder), job, str(step)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=GIVE_UP_S, check=False)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr.decode()
    return done.returncode == 0


async def the_one(local: LocalCompute) -> Machine:
    (machine,) = await local.find(INSTALLATION, INSTANCE)
    return machine


async def agents(folder: Path) -> list[psutil.Process]:
    """Agents that hold a lock; one that is only being launched ends by itself when it is late."""
    await asyncio.sleep(0.1)
    return [process for process in processes_of(folder) if "--detach" in process.cmdline()]


async def running(local: LocalCompute, machine_id: str) -> Machine:
    deadline = asyncio.get_running_loop().time() + GIVE_UP_S
    while True:
        machine = await local.describe(machine_id, "local")
        assert machine is not None
        if machine.state is MachineState.RUNNING and machine.port and machine.error is None:
            return machine
        assert asyncio.get_running_loop().time() < deadline, machine
        await asyncio.sleep(0.05)


class TestKilledAnywhere:
    async def test_while_creating(self, folder: Path) -> None:
        for step in kill_points(3, "create"):
            here = folder / f"step-{step}"
            through = await in_a_process(here, "create", step)
            local = compute(here)
            seen = await local.list_machines(INSTALLATION, "local")
            assert len(seen) <= 1
            made = await local.create(spec(), boot())
            assert [made.provider_instance_id] == [m.provider_instance_id for m in seen or [made]]
            await running(local, made.provider_instance_id)
            assert len(await agents(here)) == 1
            await local.delete(made.provider_instance_id, "local")
            assert processes_of(here) == []
            if through:
                return
        pytest.fail("the create never got through")

    async def test_while_deleting(self, folder: Path) -> None:
        for step in kill_points(4, "delete"):
            here = folder / f"step-{step}"
            local = compute(here)
            made = await local.create(spec(), boot())
            through = await in_a_process(here, "delete", step)
            if not await local.ended(made.provider_instance_id, "local"):
                still = await local.describe(made.provider_instance_id, "local")
                assert still is not None, "neither there nor ended"
                await local.delete(made.provider_instance_id, "local")
            ended = await local.ended(made.provider_instance_id, "local")
            assert ended is not None
            assert ended.billed_until is not None
            assert await local.describe(made.provider_instance_id, "local") is None
            assert processes_of(here) == []
            assert not list((here / made.provider_instance_id).glob("*boot*"))
            if through:
                return
        pytest.fail("the delete never got through")

    @pytest.mark.parametrize("job", ["reinstall", "restart"])
    async def test_while_changing_the_agent(self, folder: Path, job: str) -> None:
        for step in kill_points(9, job):
            here = folder / f"step-{step}"
            local = compute(here)
            made = await local.create(spec(), boot())
            through = await in_a_process(here, job, step)
            between = await the_one(local)
            assert between.state in {MachineState.PENDING, MachineState.RUNNING}
            if job == "reinstall":
                await local.reinstall(made.provider_instance_id, spec(), boot(2))
            else:
                await local.restart_agent(made.provider_instance_id, "local", boot())
            back = await running(local, made.provider_instance_id)
            assert (back.created_at, back.billed_from) == (made.created_at, made.billed_from)
            assert len(await agents(here)) == 1
            await local.delete(made.provider_instance_id, "local")
            if through:
                return
        pytest.fail("the change never got through")


async def test_two_processes_that_create_at_once_make_one_machine(folder: Path, local: LocalCompute) -> None:
    command = [sys.executable, "-m", "tests.node.creating", str(folder), "create", "0"]
    pipe = asyncio.subprocess.PIPE
    racers = [await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe) for _ in range(3)]
    for racer in racers:
        assert racer.stdout
        assert await racer.stdout.readline() == b"ready\n"
    outputs = await asyncio.gather(*(racer.communicate(b"go\n") for racer in racers))
    assert [out for out, _ in outputs] == [b"done\n"] * 3
    machine = await the_one(local)
    await running(local, machine.provider_instance_id)
    assert len(await agents(folder)) == 1
    assert [entry.name for entry in os.scandir(folder) if entry.is_dir()] == [machine.provider_instance_id]


async def test_the_agent_outlives_its_maker_and_leaves_no_zombie(folder: Path, local: LocalCompute) -> None:
    command = [sys.executable, "-m", "tests.node.creating", str(folder), "create", "0"]
    pipe = asyncio.subprocess.PIPE
    maker = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, start_new_session=True)
    assert maker.stdin
    assert maker.stdout
    maker.stdin.write(b"go\n")
    lines = [await maker.stdout.readline(), await maker.stdout.readline()]
    assert lines == [b"ready\n", b"done\n"]
    with suppress(ProcessLookupError):  # it may have ended by itself: then there is no group left to signal
        os.killpg(maker.pid, signal.SIGKILL)
    await maker.wait()
    machine = await running(local, (await the_one(local)).provider_instance_id)
    (agent,) = await agents(folder)
    assert agent.ppid() not in {maker.pid, os.getpid()}
    await local.delete(machine.provider_instance_id, "local")
    assert [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE] == []


class TestDeadAgents:
    async def test_a_machine_whose_agent_was_killed_is_still_a_machine(self, folder: Path, local: LocalCompute) -> None:
        made = await running(local, (await local.create(spec(), boot())).provider_instance_id)
        (agent,) = await agents(folder)
        agent.kill()
        lock = folder / made.provider_instance_id / "agent.lock"
        await until(lambda: not is_alive(lock))
        dead = await the_one(local)
        assert (dead.state, dead.error) == (MachineState.RUNNING, "the node agent is not running")
        assert (await local.create(spec(), boot())).error, "a create does not heal: the owner does"
        assert await agents(folder) == []
        await local.restart_agent(made.provider_instance_id, "local", boot())
        assert (await running(local, made.provider_instance_id)).port == made.port

    async def test_one_that_ignores_sigterm_is_killed(
        self, folder: Path, local: LocalCompute, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(processes, "TERM_GRACE_S", 0.5)
        made = await running(local, (await local.create(spec(), boot())).provider_instance_id)
        (agent,) = await agents(folder)
        agent.suspend()
        await local.delete(made.provider_instance_id, "local")
        assert not living(agent)
        assert await local.ended(made.provider_instance_id, "local")

    async def test_a_reused_process_id_is_not_ended(self, folder: Path, local: LocalCompute) -> None:
        made = await running(local, (await local.create(spec(), boot())).provider_instance_id)
        (agent,) = await agents(folder)
        facts = folder / made.provider_instance_id / "agent.json"
        bystander = await asyncio.create_subprocess_exec("sleep", "30")
        try:
            facts.write_text(facts.read_text().replace(f'"pid": {agent.pid}', f'"pid": {bystander.pid}'))
            await local.delete(made.provider_instance_id, "local")
            assert not living(agent)
            assert bystander.returncode is None
            assert living(psutil.Process(bystander.pid))
        finally:
            bystander.kill()
            await bystander.wait()

    async def test_a_failed_one_says_why_and_is_still_a_machine(self, folder: Path, local: LocalCompute) -> None:
        missing = {"model_file": "missing.gguf"}
        order = spec().model_copy(update=missing), boot().model_copy(update=missing)
        made = await local.create(*order)
        await until(lambda: not processes_of(folder))
        failed = await the_one(local)
        assert (failed.state, failed.error) == (MachineState.FAILED, "the model file missing.gguf does not exist")
        assert (await local.create(*order)).state is MachineState.FAILED
        await local.delete(made.provider_instance_id, "local")
        assert await local.ended(made.provider_instance_id, "local")


class TestRefusals:
    async def test_an_ended_key_makes_no_new_machine(self, local: LocalCompute, folder: Path) -> None:
        made = await local.create(spec(), boot())
        await local.delete(made.provider_instance_id, "local")
        with pytest.raises(ProviderRejected):
            await local.create(spec(), boot())
        assert processes_of(folder) == []

    async def test_a_key_with_other_parameters_is_refused(self, local: LocalCompute) -> None:
        made = await local.create(spec(), boot())
        with pytest.raises(ProviderRejected):
            await local.create(spec().model_copy(update={"slots": 4}), boot())
        await local.delete(made.provider_instance_id, "local")

    async def test_an_older_generation_does_not_come_back(self, local: LocalCompute) -> None:
        made = await local.create(spec(), boot())
        await local.reinstall(made.provider_instance_id, spec(), boot(2))
        with pytest.raises(ProviderRejected):
            await local.reinstall(made.provider_instance_id, spec(), boot(1))
        with pytest.raises(ProviderRejected):
            await local.restart_agent(made.provider_instance_id, "local", boot(1))
        await local.delete(made.provider_instance_id, "local")

    async def test_a_wrong_zone_does_not_hide_a_machine(self, local: LocalCompute) -> None:
        made = await local.create(spec(), boot())
        assert await local.ended(made.provider_instance_id, "elsewhere") is None
        assert await local.list_machines(INSTALLATION, "elsewhere") == []
        await local.delete(made.provider_instance_id, "elsewhere")
        assert await local.ended(made.provider_instance_id, "local")

    @pytest.mark.parametrize("name", ["../instances", "..", "", "m-../../etc", "/etc"])
    async def test_no_name_leads_out_of_the_folder(self, local: LocalCompute, name: str) -> None:
        assert await local.describe(name, "local") is None
        await local.delete(name, "local")

    async def test_a_vanished_folder_is_no_proof_of_absence(self, local: LocalCompute, folder: Path) -> None:
        os.rmdir(folder)  # noqa: PTH106 - the Path method counts as blocking, this is a test
        for look in (local.describe("m-" + "0" * 24, "local"), local.list_machines(INSTALLATION, "local")):
            with pytest.raises(ProviderUnavailable):
                await look
        with pytest.raises(ProviderUnavailable):
            await local.ended("m-" + "0" * 24, "local")

    async def test_a_damaged_file_is_no_proof_of_absence(self, local: LocalCompute, folder: Path) -> None:
        made = await local.create(spec(), boot())
        order = folder / made.provider_instance_id / "machine.json"
        text = order.read_text()
        order.write_text(text[:-5])
        with pytest.raises(ProviderUnavailable):
            await local.list_machines(INSTALLATION, "local")
        order.write_text(text)
        await local.delete(made.provider_instance_id, "local")

    @pytest.mark.parametrize("name", ["machine.json", "agent.json"])
    async def test_what_others_can_write_is_not_believed(self, local: LocalCompute, folder: Path, name: str) -> None:
        made = await running(local, (await local.create(spec(), boot())).provider_instance_id)
        file = folder / made.provider_instance_id / name
        file.chmod(0o660)
        with pytest.raises(ProviderUnavailable, match="is not private"):
            await local.describe(made.provider_instance_id, "local")
        file.chmod(0o600)
        await local.delete(made.provider_instance_id, "local")


async def test_the_agent_inherits_no_secret_and_no_descriptor(
    local: LocalCompute, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUARTERDECK_INSTALLATION_KEY", "planted-key-55")
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    made = await running(local, (await local.create(spec(), boot())).provider_instance_id)
    (agent,) = await agents(folder)
    assert not [name for name in agent.environ() if name.startswith("QUARTERDECK")]
    assert "token" not in agent.environ().values()
    os.close(writing)
    os.set_blocking(reading, False)
    assert os.read(reading, 1) == b"", "somebody still holds the other end"
    os.close(reading)
    assert (folder / made.provider_instance_id / "boot.json").stat().st_mode & 0o777 == 0o600
    await local.delete(made.provider_instance_id, "local")
