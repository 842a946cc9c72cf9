"""A whole installation for one test session: the parts that `quarterdeck up` runs, each in the hands of the test."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
from psycopg.rows import dict_row
from temporalio.client import Client

from activities.runtime.client import connect
from models.settings import Settings
from models.settings.derived import simcloud_token, simcloud_url
from tests.chaos import scoreboard
from tests.chaos.processes import ControlledProcess
from tests.embedded.driver import forget
from tests.patience import GIVE_UP_S
from workers.embedded.fleet.instances import end_instances
from workers.embedded.home import ensure_key, open_home
from workers.embedded.ports import free_port
from workers.embedded.postgres import PostgresServer
from workers.embedded.stack import Programs, Stack
from workers.embedded.supervisor import Part

QUICK_CLOUD = (
    "--build-s", "0.3", "--rebuild-s", "0.3", "--delete-s", "0.3", "--phase-s", "0.1", "--tick-s", "0.02",
)  # fmt: skip
PORTS = ("API_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT", "SIMCLOUD_PORT")
OWN_PROGRAMS = Programs()
HEARTBEAT_INTERVAL_S = 1.0
SETUP_TIMEOUT_S = 300.0
POLL_S = 0.1


def with_nothing(_server: PostgresServer) -> None:
    """A new database has no rows before it is migrated."""


Row = dict[str, Any]


class Installation:
    """Postgres, Temporal, the simulated cloud, the API and one worker, on free ports, in a home of their own."""

    def __init__(
        self,
        folder: Path,
        stack: Stack,
        postgres: tuple[PostgresServer, Part],
        variables: dict[str, str],
        fill: Callable[[PostgresServer], None],
    ) -> None:
        self.fill = fill
        self.folder, self.stack, self.settings = folder, stack, stack.settings
        self.server = postgres[0]
        self.postgres = ControlledProcess(postgres[1], variables)
        self.temporal = ControlledProcess(stack.temporal(), variables)
        self.simcloud = ControlledProcess(stack.simcloud(), variables)
        self.api = ControlledProcess(stack.api(), variables)
        self.worker = ControlledProcess(stack.worker(), variables)
        self.variables = variables
        self.http = httpx.AsyncClient(timeout=GIVE_UP_S, trust_env=False)
        self.cloud = httpx.AsyncClient(base_url=simcloud_url(self.settings), timeout=GIVE_UP_S, trust_env=False)
        self.admin: dict[str, str] = {}
        self._connection: psycopg.AsyncConnection[Row] | None = None
        self._sql = asyncio.Lock()

    # -- What the outside does

    async def call(self, method: str, path: str, *, key: str | None = None, body: object = None) -> httpx.Response:
        """One request to the API as the administrator. Raises httpx.TransportError where no answer comes."""
        headers = {"authorization": f"Bearer {self.admin['api_key']}"}
        if key is not None:
            headers["idempotency-key"] = key
        return await self.http.request(method, f"{self.admin['api_url']}{path}", headers=headers, json=body)

    async def deploy(self, provider: str, count: int = 1, **order: str) -> list[UUID]:
        """Order instances; each has its provider's own small model."""
        model = "mock-echo-model" if provider == "mock" else "smollm2-135m-instruct"
        body = {"model_id": model, "provider_code": provider, **order}
        if provider == "mock":
            body.setdefault("instance_type", "sim-l4-1-24g")  # billed, and with a volume that is
        answers = await asyncio.gather(*(self.call("POST", "/deployments", body=body) for _ in range(count)))
        assert all(answer.status_code == 200 for answer in answers), [answer.text for answer in answers]
        return [UUID(answer.json()["instance_id"]) for answer in answers]

    async def terminate(self, *instances: UUID) -> list[httpx.Response]:
        answers = await asyncio.gather(*(self.call("DELETE", f"/instances/{one}") for one in instances))
        assert all(answer.status_code in (200, 202) for answer in answers), [answer.text for answer in answers]
        return list(answers)

    async def reinstall(self, *instances: UUID) -> list[httpx.Response]:
        answers = await asyncio.gather(
            *(self.call("POST", f"/instances/{one}/reinstall", body={}) for one in instances)
        )
        assert all(answer.status_code == 202 for answer in answers), [answer.text for answer in answers]
        return list(answers)

    async def fault(self, request_class: str, kind: str, **more: float | str) -> int:
        """Switch a fault of the simulated cloud on; the id by which `end_fault` ends it."""
        answer = await self.cloud.post("/sim/faults", json={"class": request_class, "kind": kind, **more})
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    async def end_fault(self, fault_id: int) -> None:
        assert (await self.cloud.delete(f"/sim/faults/{fault_id}")).is_success

    async def end_faults(self) -> None:
        assert (await self.cloud.delete("/sim/faults")).is_success

    async def fired(self, fault_id: int) -> int:
        shown = (await self.cloud.get("/sim/faults")).json()["faults"]
        return next(int(one["fired"]) for one in shown if one["id"] == fault_id)

    # -- What our rows say

    async def rows(self, statement: str, *values: object) -> list[Row]:
        """As a superuser. Raises psycopg.OperationalError while the database is away."""
        async with self._sql:
            try:
                return await self._execute(statement, values)
            except psycopg.OperationalError:  # the connection of before a kill
                self._connection = None
                return await self._execute(statement, values)

    async def _execute(self, statement: str, values: Sequence[object]) -> list[Row]:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                self.server.url(), connect_timeout=5, autocommit=True, row_factory=dict_row
            )
        cursor = await self._connection.execute(statement, values)
        return await cursor.fetchall() if cursor.description else []

    async def another_connection(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        """As a superuser too, for a transaction that is to last."""
        return await psycopg.AsyncConnection.connect(self.server.url(), connect_timeout=5, autocommit=True)

    async def instances(self, ids: Sequence[UUID]) -> dict[UUID, Row]:
        return {row["id"]: row for row in await self.rows("SELECT * FROM instances WHERE id = ANY(%s)", list(ids))}

    async def until(self, ids: Sequence[UUID], true: Callable[[Row], bool], within_s: float) -> float:
        """Waits until every row is so; the seconds that it took. Fails with what the others wait for.

        `within_s` is what is promised: see `scoreboard.patience_s`.
        """
        began = time.monotonic()
        deadline = began + scoreboard.patience_s(within_s)
        while True:
            rows = await self.instances(ids)
            others = [row for row in rows.values() if not true(row)]
            if not others and len(rows) == len(ids):
                return scoreboard.seconds_since(began)
            assert time.monotonic() < deadline, [
                (str(row["id"]), row["status"], row["generation"], row["waiting_on"], row["error_code"])
                for row in others
            ]
            await asyncio.sleep(POLL_S)

    async def until_status(self, ids: Sequence[UUID], status: str, within_s: float = 30.0) -> float:
        return await self.until(ids, lambda row: row["status"] == status, within_s)

    async def ready(self, provider: str, count: int = 1, **order: str) -> list[UUID]:
        """New instances, ready to serve."""
        made = await self.deploy(provider, count, **order)
        await self.until_status(made, "ready", 40.0)
        return made

    async def temporal_client(self) -> Client:
        return await connect(self.settings)

    async def plain_temporal_client(self) -> Client:
        """Without our codec: it sees what the server stores."""
        return await Client.connect(f"127.0.0.1:{self.settings.temporal_port}")

    # -- Life

    async def restore(self) -> None:
        """Every part runs, thawed and with its usual environment, and the cloud has no faults and no machine of another test."""
        for process in (self.postgres, self.temporal, self.simcloud, self.api, self.worker):
            process.thaw()
            if process.runs() and process.is_special:
                await process.stop()
            if not process.runs():
                await process.start()
        await self.end_faults()
        if left := await self.left():
            await self.terminate(*left)
            await self.until_status(left, "terminated")

    async def left(self) -> list[UUID]:
        """The instances that nobody has ended."""
        return [
            row["id"] for row in await self.rows("SELECT id FROM instances WHERE status <> 'terminated' ORDER BY id")
        ]

    async def start(self) -> None:
        await asyncio.gather(self._database(), self.temporal.start(), self.simcloud.start())
        token = simcloud_token(self.settings).get_secret_value()
        self.cloud.headers["authorization"] = f"Bearer {token}"
        await asyncio.gather(self.api.start(), self.worker.start())

    async def _database(self) -> None:
        await self.postgres.start()
        await asyncio.to_thread(self.server.ensure_database)
        await asyncio.to_thread(self.fill, self.server)
        await self._set_up("migrate", self.stack.programs.migrate)
        admin_file = self.stack.home.admin_file
        await self._set_up("bootstrap", (*self.stack.programs.bootstrap, "--admin-file", str(admin_file)))
        self.admin = httpx.Response(200, content=admin_file.read_bytes()).json()

    async def _set_up(self, name: str, command: tuple[str, ...]) -> None:
        spec = self.stack.setup(name, command)
        process = await asyncio.create_subprocess_exec(
            *spec.argv, cwd=spec.cwd, env={**spec.env, **self.variables}, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, complaints = await asyncio.wait_for(process.communicate(), SETUP_TIMEOUT_S)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, name, stderr=complaints)

    async def stop(self) -> None:
        await self.http.aclose()
        await self.cloud.aclose()
        if self._connection is not None:
            await self._connection.close()
        await asyncio.gather(*(process.stop() for process in (self.api, self.worker, self.simcloud)))
        await asyncio.gather(self.temporal.stop(), self.postgres.stop())
        await asyncio.to_thread(end_instances, self.folder / "instances")
        forget(self.folder)


@asynccontextmanager
async def installed(
    folder: Path,
    programs: Programs = OWN_PROGRAMS,
    fill: Callable[[PostgresServer], None] = with_nothing,
    /,
    **more: str,
) -> AsyncIterator[Installation]:
    """A running installation inside the block, with these variables too; nothing of it is left afterwards.

    The simulated cloud is a quick one, whatever the programs. `fill` is called with the running database server, before the
    migrations.
    """
    ports = {f"QUARTERDECK_{name}": str(free_port()) for name in PORTS}
    variables = {**ports, "QUARTERDECK_HEARTBEAT_INTERVAL_S": str(HEARTBEAT_INTERVAL_S), **more}
    chosen = {name.removeprefix("QUARTERDECK_").lower(): value for name, value in variables.items()}
    settings = Settings(home=folder, **chosen)  # type: ignore[arg-type]  # texts, as from the environment
    home = open_home(folder)
    ensure_key(home)
    simcloud = (sys.executable, "-m", "simcloud", *QUICK_CLOUD)
    stack = Stack(settings, home, replace(programs, simcloud=simcloud))
    installation = Installation(folder, stack, await asyncio.to_thread(stack.postgres), variables, fill)
    try:
        await installation.start()
        yield installation
    finally:
        await installation.stop()
