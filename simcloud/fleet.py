"""All agents of the cloud in one event loop: who runs, who is dead, and who answers to which serving key."""

import asyncio
import json
import logging
import random
import secrets
import uuid
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import aiohttp
import orjson

from simcloud.agent import Agent, Answer, BadUserData, BootData, Identity, Refused
from simcloud.cloud import Start
from simcloud.database import Database
from simcloud.errors import Missing, Rejected
from simcloud.machines import Machine

log = logging.getLogger(__name__)

CONNECTIONS = 64
CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 10.0


class AgentState(StrEnum):
    RUNNING = "running"
    DEAD = "dead"  # the process is gone: no heartbeat, its port answers nobody
    HUNG = "hung"  # it lives and does nothing: no heartbeat, requests are never answered
    EXITED = "exited"  # its control plane refused it, or its user data made no sense
    GONE = "gone"  # with its machine


@dataclass(frozen=True)
class Traits:
    """How a machine's model server behaves where a request does not say otherwise (`simcloud.knobs`)."""

    delay_ms: int = 0
    chunks: int | None = None
    chunk_delay_ms: int = 0
    fail_after_chunks: int | None = None
    status: int | None = None


@dataclass(eq=False)
class Resident:
    """An agent, what it runs as, and what is known of it."""

    agent: Agent
    state: AgentState
    traits: Traits
    task: asyncio.Task[None] | None = None


class HttpControlPlane:
    """One session for all agents: a bounded number of connections, whatever the number of machines. A simulated network has no
    proxy.
    """

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=30.0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def post(self, url: str, token: str, body: dict[str, Any]) -> Answer:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            async with self._session.post(
                url, data=orjson.dumps(body), headers=headers, allow_redirects=False
            ) as response:
                content = await response.read()
                parsed = orjson.loads(content) if response.status == 200 else {}
                return Answer(response.status, parsed if isinstance(parsed, dict) else {})
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return Answer(0)

    async def close(self) -> None:
        await self._session.close()


class Fleet:
    """The tenants of the cloud (`simcloud.cloud.Tenants`)."""

    def __init__(self, database: Database, *, seed: int, phase_s: float) -> None:
        self._database = database
        self._dice = random.Random(seed)  # noqa: S311 - jitter, not a secret
        self._phase_s = phase_s
        self._control_plane = HttpControlPlane()
        self._residents: dict[str, Resident] = {}
        self._by_key: dict[str, Resident] = {}
        self.address_port = 0

    def machine_up(self, machine: Machine, start: Start) -> None:
        row = self._database.row("SELECT * FROM agents WHERE machine_id = ?", machine.id)
        traits = Traits(**json.loads(row["traits"])) if row else Traits()
        if row is None or start is Start.FRESH:
            identity = Identity(machine.id, str(uuid.uuid4()), secrets.token_urlsafe(24))
        else:
            identity = Identity(machine.id, row["worker_id"], row["nonce"], row["worker_token"], row["serving_key"])
        resumes_as = AgentState(row["state"]) if row and start is Start.RESUMED else AgentState.RUNNING
        self._store(identity, resumes_as, traits)
        try:
            boot = BootData.parse(machine.user_data)
        except BadUserData as error:
            log.warning("machine %s: its agent cannot start: %s", machine.id, error)
            self._set_state(machine.id, AgentState.EXITED)
            return
        delay_s = machine.agent_delay_s if start is Start.FRESH else 0.0
        resident = Resident(self._agent(identity, boot, delay_s), resumes_as, traits)
        self._residents[machine.id] = resident
        if identity.serving_key:
            self._by_key[identity.serving_key] = resident
        if resumes_as is AgentState.RUNNING:
            self._launch(resident)

    def machine_down(self, machine_id: str, *, gone: bool) -> None:
        resident = self._residents.pop(machine_id, None)
        if resident is not None:
            self._halt(resident)
            self._by_key.pop(resident.agent.identity.serving_key or "", None)
        if gone:
            self._set_state(machine_id, AgentState.GONE)

    def serving(self, key: str) -> Resident | None:
        """Whose model server takes this key. Raises Missing for a key that no machine ever had."""
        resident = self._by_key.get(key)
        if resident is None and self._database.row("SELECT 1 FROM agents WHERE serving_key = ?", key) is None:
            raise Missing("unknown serving key")
        return resident

    def act(self, machine_id: str, action: str) -> Resident:
        """`die`, `hang`, `resume` or `drain`, out of band. Raises Missing, Rejected."""
        resident = self._resident(machine_id)
        if action == "drain":
            resident.agent.is_draining = True
        elif action in ("die", "hang"):
            self._halt(resident)
            self._become(resident, AgentState.DEAD if action == "die" else AgentState.HUNG)
        elif action == "resume":
            self._halt(resident)
            resident.agent = self._agent(resident.agent.identity, resident.agent.boot, delay_s=0.0)
            self._become(resident, AgentState.RUNNING)
            self._launch(resident)
        else:
            raise Rejected("action is die, hang, resume or drain")
        return resident

    def set_traits(self, machine_id: str, traits: Traits) -> Resident:
        resident = self._resident(machine_id)
        resident.traits = traits
        self._store(resident.agent.identity, resident.state, traits)
        return resident

    def shown(self, machine_id: str) -> dict[str, Any]:
        resident = self._resident(machine_id)
        agent = resident.agent
        return {
            "machine_id": machine_id, "state": resident.state.value, "worker_id": agent.identity.worker_id,
            "boot_id": agent.boot_id, "phase": agent.phase, "is_registered": agent.identity.worker_token is not None,
            "slots_total": agent.boot.slots, "slots_busy": agent.busy, "queue_depth": agent.waiting,
            "traits": asdict(resident.traits),
        }  # fmt: skip

    def clear(self) -> None:
        for machine_id in list(self._residents):
            self.machine_down(machine_id, gone=True)

    async def close(self) -> None:
        tasks = [resident.task for resident in self._residents.values() if resident.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._control_plane.close()

    def _resident(self, machine_id: str) -> Resident:
        if machine_id not in self._residents:
            raise Missing(f"no agent lives on machine {machine_id}")
        return self._residents[machine_id]

    def _agent(self, identity: Identity, boot: BootData, delay_s: float) -> Agent:
        """A new process of the agent: what it has on disk stays, its boot id is new."""
        return Agent(
            identity, boot, self._control_plane, self._dice, self._phase_s, delay_s, self.address_port, self._remember
        )

    def _launch(self, resident: Resident) -> None:
        resident.task = asyncio.get_running_loop().create_task(self._live(resident))

    async def _live(self, resident: Resident) -> None:
        try:
            await resident.agent.run()
        except Refused as refusal:
            log.info("the agent of %s was refused at its %s and exits", resident.agent.identity.machine_id, refusal)
            self._become(resident, AgentState.EXITED)
        except Exception:
            log.exception("the agent of %s crashed", resident.agent.identity.machine_id)
            self._become(resident, AgentState.DEAD)

    def _halt(self, resident: Resident) -> None:
        if resident.task is not None:
            resident.task.cancel()
            resident.task = None

    def _become(self, resident: Resident, state: AgentState) -> None:
        resident.state = state
        self._set_state(resident.agent.identity.machine_id, state)

    def _set_state(self, machine_id: str, state: AgentState) -> None:
        self._database.run("UPDATE agents SET state = ? WHERE machine_id = ?", state.value, machine_id)

    def _remember(self, identity: Identity) -> None:
        self._database.run(
            "UPDATE agents SET worker_token = ?, serving_key = ? WHERE machine_id = ?",
            identity.worker_token, identity.serving_key, identity.machine_id,
        )  # fmt: skip
        resident = self._residents.get(identity.machine_id)
        if resident is not None and identity.serving_key:
            self._by_key[identity.serving_key] = resident

    def _store(self, identity: Identity, state: AgentState, traits: Traits) -> None:
        self._database.run(
            "INSERT OR REPLACE INTO agents (machine_id, worker_id, state, nonce, worker_token, serving_key, traits)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            identity.machine_id, identity.worker_id, state.value, identity.nonce, identity.worker_token,
            identity.serving_key, json.dumps(asdict(traits)),
        )  # fmt: skip
