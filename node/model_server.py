"""Starts, watches and stops the process that serves the model."""

import asyncio
import json
import os
import secrets
import sys
from collections import deque
from pathlib import Path

import aiohttp

from node.boot import Boot
from node.capabilities import Capabilities, capabilities_of

GGUF_MAGIC = b"GGUF"
STOP_S = 2.0
ERROR_LINES = 5


class ModelError(Exception):
    """The model can not be served: trying again with the same file is no use."""


class ModelServerDied(Exception):
    """The process ended although nobody stopped it."""


def check_model_file(path: Path) -> None:
    """Raises ModelError with one line for people when `path` is not a readable GGUF file."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except FileNotFoundError:
        raise ModelError(f"the model file {path.name} does not exist") from None
    except OSError as error:
        raise ModelError(f"the model file {path.name} cannot be read: {error.strerror}") from None
    if magic != GGUF_MAGIC:
        raise ModelError(f"the model file {path.name} is not a GGUF file")


class ModelServer:
    """One model server process, for text or for embeddings. `url` and `api_key` are valid between `start` and `stop`."""

    def __init__(self, boot: Boot, *, embeddings: bool = False) -> None:
        self._boot = boot
        self._embeddings = embeddings
        self._process: asyncio.subprocess.Process | None = None
        self._complaints: deque[str] = deque(maxlen=ERROR_LINES)
        self._reader: asyncio.Task[None] | None = None
        self._ready = False
        self.url = ""
        self.api_key = secrets.token_urlsafe(32)

    async def start(self) -> None:
        """Returns when the model is loaded. Raises ModelError when it can not be, ModelServerDied when the process dies."""
        self._ready = False
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "node.llama"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise RuntimeError("the pipes to the model server are missing")
        self._reader = asyncio.create_task(self._read_complaints(process.stderr))
        process.stdin.write(json.dumps(self._config()).encode() + b"\n")
        answer = await process.stdout.readline()
        if not answer:
            code = await process.wait()
            await self._reader
            if code == 1:  # an exception: llama.cpp refused the file; a signal has a negative code
                raise ModelError(f"llama.cpp cannot load the model file {self._boot.model_file.name}")
            raise ModelServerDied(f"the model server ended with {code} while it loaded the model")
        self._ready = True
        self.url = json.loads(answer)["url"]

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def warm_up(self) -> None:
        """Answers one token, so that the first user does not wait for memory to be touched."""
        async with (
            self._session() as http,
            http.post(f"{self.url}/v1/completions", json={"prompt": "Hello", "max_tokens": 1}) as response,
        ):
            if response.status != 200:
                raise ModelError(f"the model does not answer: {response.status}")
            await response.read()

    async def capabilities(self) -> Capabilities:
        """What the loaded model can do. Raises ModelError."""
        async with self._session() as http, http.get(f"{self.url}/props") as response:
            if response.status != 200:
                raise ModelError(f"the model does not tell what it can do: {response.status}")
            return capabilities_of(await response.json(), context_length=self._boot.context_length)

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.api_key}"}, trust_env=False)

    async def wait(self) -> int:
        """The exit code, once the process has ended."""
        if self._process is None:
            raise RuntimeError("the model server was not started")
        return await self._process.wait()

    async def stop(self) -> None:
        """Ends the process at once: it holds nothing worth saving, and an orderly end waits 30 s for requests."""
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            async with asyncio.timeout(STOP_S):
                await process.wait()
        if self._reader is not None:
            await self._reader
            self._reader = None

    @property
    def complaints(self) -> list[str]:
        """The last lines llama.cpp wrote before it was ready. Later ones are dropped: they might quote a request."""
        return list(self._complaints)

    async def _read_complaints(self, stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(4096):
            if not self._ready:
                self._complaints.extend(chunk.decode(errors="replace").splitlines())

    def _config(self) -> dict[str, object]:
        boot = self._boot
        return {
            "parent_pid": os.getpid(),
            "model_file": str(boot.model_file),
            "model_id": boot.model_id,
            "slots": 1 if self._embeddings else boot.slots,
            "embeddings": self._embeddings,
            "context_length": boot.context_length,
            "api_key": self.api_key,
        }
