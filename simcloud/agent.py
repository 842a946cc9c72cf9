"""The agent of one simulated machine: it registers, reports its phases and its load, and answers for its model server.

It speaks the worker protocol of its control plane: `POST {control_plane_url}/internal/worker/register` and `/heartbeat`.
"""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

PHASES = ("preparing", "loading_model", "warming_up", "serving")
AGENT_VERSION = "simcloud-1"
CAPABILITIES = {"tools": False, "vision": False, "audio": False}
"""An echo of text: it has no template in which tools could stand."""
TIMER_SLACK_S = 0.002  # an event loop's timer may fire up to a millisecond early, within the phase that was to end
LEAST_INTERVAL_S = 0.1
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 15.0
"""A control plane that is away hears from 1,000 agents a hundred times a second, and from each soon after its return."""


class BadUserData(Exception):
    """The user data of the machine is not what the agent can start from. The message does not repeat it."""


@dataclass(frozen=True)
class BootData:
    """What the machine was told at its creation."""

    instance_id: str
    control_plane_url: str
    bootstrap_token: str
    model_id: str
    slots: int
    heartbeat_interval_s: float

    @classmethod
    def parse(cls, user_data: str) -> "BootData":
        try:
            data = orjson.loads(user_data)
            boot = cls(
                str(data["instance_id"]), str(data["control_plane_url"]).rstrip("/"), str(data["bootstrap_token"]),
                str(data["model_id"]), int(data.get("slots", 1)), float(data.get("heartbeat_interval_s", 4.0)),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadUserData(f"user data: {type(error).__name__}") from None
        if (
            not boot.control_plane_url.startswith(("http://", "https://"))
            or boot.slots < 1
            or boot.heartbeat_interval_s <= 0
        ):
            raise BadUserData("user data: control_plane_url, slots or heartbeat_interval_s is out of range")
        return boot


@dataclass
class Identity:
    """What the agent has on its disk."""

    machine_id: str
    worker_id: str
    nonce: str
    worker_token: str | None = None
    serving_key: str | None = None


@dataclass(frozen=True)
class Answer:
    """What the control plane said; status 0 when it said nothing."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)


class ControlPlane(Protocol):
    async def post(self, url: str, token: str, body: dict[str, Any]) -> Answer: ...


class Refused(Exception):
    """The control plane knows this agent no longer: it stops."""


@dataclass(eq=False)
class Agent:
    """`remember` stores the identity before it is relied on; `address_port` is where the machine's model server answers."""

    identity: Identity
    boot: BootData
    control_plane: ControlPlane
    dice: random.Random
    phase_s: float
    delay_s: float
    address_port: int
    remember: Callable[[Identity], None]
    boot_id: str = field(default_factory=lambda: secrets.token_hex(16))
    is_draining: bool = False
    waiting: int = field(default=0, init=False)
    busy: int = field(default=0, init=False)
    _interval_s: float = field(default=0.0, init=False)
    _began: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._interval_s = max(LEAST_INTERVAL_S, self.boot.heartbeat_interval_s)
        self._slots = asyncio.Semaphore(self.boot.slots)

    @property
    def phase(self) -> str:
        if self._began is None:
            return PHASES[0]
        if self.phase_s <= 0:
            return PHASES[-1]
        return PHASES[min(int((time.monotonic() - self._began) / self.phase_s), len(PHASES) - 1)]

    @property
    def is_serving(self) -> bool:
        return self._began is not None and self.phase == PHASES[-1]

    async def run(self) -> None:
        """Until cancelled, or until the control plane refuses it (raises Refused).

        One whose heartbeat is refused registers again, once: its control plane may be of a time before it registered.
        """
        await asyncio.sleep(self.delay_s)
        await self._register()
        self._began = time.monotonic()
        failures = 0
        is_taken = True
        while True:
            reported = self.phase
            answer = await self._post("heartbeat", self.identity.worker_token or "", self._heartbeat(reported))
            if answer.status in (401, 404):
                if not is_taken:
                    raise Refused("heartbeat")
                is_taken = False
                await self._register()
                continue
            is_taken = is_taken or answer.status == 200
            failures = 0 if answer.status == 200 else failures + 1
            await asyncio.sleep(self._backoff_s(failures) if failures else self._until_next_beat_s(reported))

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """One of the model server's slots; whoever finds none waits in the queue that heartbeats report."""
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1
            self._slots.release()

    async def _register(self) -> None:
        """Raises Refused once neither the worker token nor the bootstrap token is taken."""
        failures = 0
        candidates = [token for token in (self.identity.worker_token, self.boot.bootstrap_token) if token]
        while candidates:
            answer = await self._post("register", candidates[0], self._registration())
            if answer.status == 200 and answer.body.get("bootstrap_token"):
                self._accept(answer.body)
                return
            if answer.status == 404:
                break
            if answer.status == 401:
                candidates.pop(0)
                continue
            failures += 1
            await asyncio.sleep(self._backoff_s(failures))
        raise Refused("register")

    def _accept(self, body: dict[str, Any]) -> None:
        self.identity.worker_token = str(body["bootstrap_token"])
        if body.get("serving_key"):
            self.identity.serving_key = str(body["serving_key"])
        interval_s = body.get("heartbeat_interval_s")
        if isinstance(interval_s, int | float) and interval_s > 0:
            self._interval_s = max(LEAST_INTERVAL_S, interval_s)
        self.remember(self.identity)

    async def _post(self, route: str, token: str, body: dict[str, Any]) -> Answer:
        return await self.control_plane.post(f"{self.boot.control_plane_url}/internal/worker/{route}", token, body)

    def _backoff_s(self, failures: int) -> float:
        """Exponential, half of it left to chance, so that agents that failed together do not return together."""
        ceiling = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 10))
        return ceiling * self.dice.uniform(0.5, 1.0)

    def _until_next_beat_s(self, reported: str) -> float:
        """The interval, a tenth of it left to chance; less where a phase ends earlier, and nothing where one just has."""
        beat_s = self._interval_s * self.dice.uniform(0.9, 1.0)
        if reported == PHASES[-1] or self._began is None:
            return beat_s
        phase_ends = self._began + (PHASES.index(reported) + 1) * self.phase_s + TIMER_SLACK_S
        return max(0.0, min(beat_s, phase_ends - time.monotonic()))

    def _registration(self) -> dict[str, Any]:
        return {
            "instance_id": self.boot.instance_id,
            "worker_id": self.identity.worker_id,
            "nonce": self.identity.nonce,
            "boot_id": self.boot_id,
            "model_id": self.boot.model_id,
            "vllm_port": self.address_port,
            "health_port": self.address_port,
            "metadata": {"agent_version": AGENT_VERSION, "slots": self.boot.slots},
        }

    def _heartbeat(self, phase: str) -> dict[str, Any]:
        status = "draining" if self.is_draining else ("ready" if phase == PHASES[-1] else "starting")
        load = self.busy / self.boot.slots
        gpu = {"index": 0, "gpu_utilization": round(100.0 * load, 1), "gpu_mem_used_mb": 18_000.0, "gpu_mem_total_mb": 24_576.0,
               "gpu_temp_c": round(38.0 + 30.0 * load, 1), "gpu_power_w": round(30.0 + 42.0 * load, 1),
               "gpu_power_limit_w": 72.0}  # fmt: skip
        system = {"cpu_usage_pct": round(3.0 + 60.0 * load, 1), "load1": round(0.1 + 4.0 * load, 2),
                  "mem_used_bytes": 6 << 30, "mem_total_bytes": 48 << 30, "disk_used_bytes": 12 << 30,
                  "disk_total_bytes": 125 << 30, "net_rx_bps": 2_000 * self.busy, "net_tx_bps": 8_000 * self.busy}  # fmt: skip
        return {
            "instance_id": self.boot.instance_id,
            "worker_id": self.identity.worker_id,
            "boot_id": self.boot_id,
            "status": status,
            "phase": phase,
            "model_id": self.boot.model_id,
            "queue_depth": self.waiting,
            "slots_total": self.boot.slots,
            "slots_busy": self.busy,
            "gpu_utilization": gpu["gpu_utilization"],
            "gpu_mem_used_mb": gpu["gpu_mem_used_mb"],
            "agent_info": {"version": AGENT_VERSION},
            "metadata": {"gpus": [gpu], "system": system, "capabilities": CAPABILITIES},
        }
