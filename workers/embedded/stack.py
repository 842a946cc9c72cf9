"""What the stack consists of: each part's program, environment, port and probe, from the settings."""

import http.client
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from models.base.foreign_variables import environment_of_a_part
from models.base.listing import exported
from models.base.proxies import UnusableProxy
from models.settings import ENV_PREFIX, Environment, Settings, derived
from models.settings.derived import DatabaseRole
from workers import parts
from workers.embedded import postgres
from workers.embedded.errors import StartError
from workers.embedded.home import Home
from workers.embedded.part_logs import PartLogs
from workers.embedded.ports import LOOPBACK, accepts, chosen_ports, free_port, obstacle
from workers.embedded.postgres import PostgresServer
from workers.embedded.postgres_program import bundled_tree
from workers.embedded.processes import ProcessSpec
from workers.embedded.row_parts import RowPart
from workers.embedded.supervisor import Part
from workers.embedded.temporal import TemporalServer, binary
from workers.embedded.ui_door import UiDoor, hidden_address, own_names
from workers.family_parts import FamilyPart, FamilyParts, WhenSet, WhileRows, joined
from workers.readiness import READY_FILE_VARIABLE

PROBE_TIMEOUT_S = 2.0
TEMPORAL_TIMEOUT_S = 5.0
ADMIN_URL = f"{ENV_PREFIX}DATABASE_URL"
DATABASE_URLS = frozenset({ADMIN_URL, *(f"{ADMIN_URL}_{role.name}" for role in DatabaseRole)})
ROOT = Path(__file__).resolve().parents[2]
FAMILY_PARTS: Final = joined(exported(parts, "FAMILY", FamilyParts))
"""Of every family, found by listing `workers/parts`."""


@dataclass(frozen=True)
class Programs:
    """The command lines of our own programs, replaceable by smaller ones in tests of the supervisor."""

    migrate: tuple[str, ...] = (sys.executable, "-m", "workers", "migrate")
    bootstrap: tuple[str, ...] = (sys.executable, "-m", "workers", "bootstrap")
    api: tuple[str, ...] = (sys.executable, "-m", "api")
    worker: tuple[str, ...] = (sys.executable, "-m", "workers", "worker")
    simcloud: tuple[str, ...] = (sys.executable, "-m", "simcloud")


class Stack:
    """The parts of one home. Building it checks what can be checked before anything is started. Raises StartError."""

    def __init__(self, settings: Settings, home: Home, programs: Programs) -> None:
        self.settings, self.home, self.programs = settings, home, programs
        self.embeds_postgres = settings.database_url is None
        self.embeds_temporal = settings.temporal_address is None
        self._hidden_ui = (hidden_address(), free_port())
        self.logs = PartLogs(home.logs, limit_bytes=settings.log_file_bytes, kept=settings.log_files_kept)
        derived.installation_key(settings)  # there is one that can be used, or this says why not
        if self.embeds_postgres:
            bundled_tree()
        if self.embeds_temporal:
            binary("temporal")
        else:
            self._refuse_unreachable_temporal()
        self._refuse_missing_addresses()
        self._refuse_ports_that_cannot_be_had()

    def _refuse_unreachable_temporal(self) -> None:
        host, port = derived.temporal_endpoint(self.settings)
        check = "QUARTERDECK_TEMPORAL_ADDRESS"
        try:
            proxy = derived.temporal_proxy(self.settings)
        except UnusableProxy as error:
            raise StartError(f"Temporal at {self.settings.temporal_address} cannot be reached: {error}") from None
        if proxy is not None:
            host, port, check = proxy.host, proxy.port, f"{check} and {proxy}, {proxy.address}"
        if not accepts(port, host, TEMPORAL_TIMEOUT_S):
            raise StartError(f"Temporal at {self.settings.temporal_address} cannot be reached; check {check}")

    def _refuse_missing_addresses(self) -> None:
        """In production nothing is derived, and no server of ours stands in. Raises SettingsError."""
        if not self.embeds_postgres or self.settings.environment is Environment.PRODUCTION:
            derived.admin_url(self.settings)
            for role in DatabaseRole:
                derived.database_url(self.settings, role)

    def _refuse_ports_that_cannot_be_had(self) -> None:
        seen: dict[int, str] = {}
        for name, (host, port) in chosen_ports(self.settings).items():
            variable = f"{ENV_PREFIX}{name.upper()}"
            if port in seen:
                raise StartError(f"{variable} and {seen[port]} are both {port}: each needs a port of its own")
            seen[port] = variable
            found = obstacle(port, host)
            if found is not None:
                raise StartError(f"{found.text(port, host)}: {found.remedy(variable)}")

    def postgres(self) -> tuple[PostgresServer, Part]:
        server = postgres.prepare(self.home.path)

        def prepare() -> ProcessSpec:
            server.before_start()
            return server.process(self.logs.of_this_run("postgres"))

        return server, Part("postgres", prepare, server.is_ready, port=server.port)

    def temporal(self) -> Part:
        settings = self.settings
        host, port = self._hidden_ui
        server = TemporalServer(
            settings.temporal_port,
            port,
            settings.temporal_namespace,
            self.home.temporal_database,
            ui_host=host,
            codec_endpoint=f"{derived.public_url(settings)}/internal/codec",
        )
        return Part(
            "temporal",
            lambda: server.process(self.logs.of_this_run("temporal"), self.home.path),
            server.is_ready,
            port=server.port,
            url=f"http://{LOOPBACK}:{settings.temporal_ui_port}",
        )

    def ui_door(self) -> UiDoor:
        """What listens where people find the embedded Temporal's web UI."""
        port = self.settings.temporal_ui_port
        return UiDoor(port, self._hidden_ui, own_names(port, derived.temporal_ui_url(self.settings)))

    def simcloud(self) -> Part:
        port, token = derived.simcloud_port(self.settings), derived.simcloud_token(self.settings).get_secret_value()
        command = (*self.programs.simcloud, "--port", str(port), "--db", str(self.home.simcloud_database))
        environment = {"QUARTERDECK_SIMCLOUD_TOKEN": token}
        return self._own(
            "simcloud", command, lambda: accepts(port), environment, port=port, url=f"http://{LOOPBACK}:{port}"
        )

    def api(self) -> Part:
        port, host = self.settings.api_port, self.settings.api_host
        return self._own(
            "api",
            self.programs.api,
            lambda: answers_ok(host, port, "/health"),
            self._logs_in_as(DatabaseRole.API),
            port=port,
            url=f"http://{host}:{port}",
        )

    def worker(self) -> Part:
        ready = self.home.ready_file("worker")
        environment = {READY_FILE_VARIABLE: str(ready), **self._logs_in_as(DatabaseRole.WORKER)}
        return self._own("worker", self.programs.worker, ready.exists, environment)

    def while_set(self) -> list[Callable[[], Part]]:
        """Parts of families that the settings want."""
        wanted = [part for part in FAMILY_PARTS if isinstance(part.when, WhenSet) and part.when.holds(self.settings)]
        return [partial(self._of_family, part) for part in wanted]

    def while_rows(self) -> list[RowPart]:
        """Parts of families that rows may want."""
        return [
            RowPart(part.when.question, partial(self._of_family, part))
            for part in FAMILY_PARTS
            if isinstance(part.when, WhileRows)
        ]

    def rows_url(self) -> str:
        """How rows are asked which parts they want."""
        return derived.database_url(self.settings, DatabaseRole.WORKER)

    def _of_family(self, part: FamilyPart) -> Part:
        log_in = {} if part.logs_in_as is None else self._logs_in_as(part.logs_in_as)
        if part.port is not None:
            port = part.port(self.settings)
            return self._own(part.name, part.command, lambda: accepts(port), log_in, port=port)
        ready = self.home.ready_file(part.name)
        return self._own(part.name, part.command, ready.exists, {READY_FILE_VARIABLE: str(ready), **log_in})

    def setup(self, name: str, command: tuple[str, ...]) -> ProcessSpec:
        """A program that runs once, before the API and the worker: with every URL, that of the superuser included."""
        everyones = {name: value for name, value in os.environ.items() if name.upper() in DATABASE_URLS}
        environment = {**self.environment(), **everyones, ADMIN_URL: derived.admin_url(self.settings)}
        return ProcessSpec(name, command, self.logs.of_this_run(name), ROOT, environment)

    def environment(self) -> dict[str, str]:
        """Ours, so that settings pass through, with absolute paths, and without any way into the database. Of others' variables
        those of `models.base.foreign_variables`.
        """
        seen = environment_of_a_part(os.environ, own_database=not self.embeds_postgres)
        return {
            **{name: value for name, value in seen.items() if name.upper() not in DATABASE_URLS},
            "QUARTERDECK_HOME": str(self.home.path),
            "PYTHONUNBUFFERED": "1",
        }

    def _logs_in_as(self, role: DatabaseRole) -> dict[str, str]:
        """Its own role's URL, and no other role's."""
        return {f"{ADMIN_URL}_{role.name}": derived.database_url(self.settings, role)}

    def _own(
        self,
        name: str,
        command: tuple[str, ...],
        is_ready: Callable[[], bool],
        environment: Mapping[str, str],
        *,
        port: int | None = None,
        url: str | None = None,
    ) -> Part:
        def prepare() -> ProcessSpec:
            self.home.ready_file(name).unlink(missing_ok=True)
            return ProcessSpec(name, command, self.logs.of_this_run(name), ROOT, {**self.environment(), **environment})

        return Part(name, prepare, is_ready, port=port, url=url)


def answers_ok(host: str, port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
