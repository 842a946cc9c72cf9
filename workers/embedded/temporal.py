"""The embedded Temporal server: the development server of Temporal's own command line tool, with a database file."""

import http.client
import os
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from workers.embedded.errors import StartError
from workers.embedded.ports import LOOPBACK
from workers.embedded.processes import ProcessSpec

SEARCH_ATTRIBUTES = ("OrgId", "Surface", "ResourceKind", "ResourceId", "Provider")
"""Typed keys of `models/contracts/search_attributes.py`; the server refuses a workflow that carries one it does not know."""

SHUT_HTTP_API = 'frontend.httpAllowedHosts=["nobody.invalid"]'
"""The server opens an HTTP API on a port of its own choice, without a switch for it. A web page may post to it without asking; it
answers the hosts of this list alone, and no request names this one. The web UI speaks gRPC and does not need it.
"""

PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class TemporalServer:
    """Where it listens (loopback only) and what it keeps. `database` None: everything is lost when it ends."""

    port: int
    ui_port: int
    namespace: str = "default"
    database: Path | None = None
    ui_host: str = LOOPBACK
    """Where the web UI itself listens. `quarterdeck up` hides it behind a door (`ui_door.py`)."""
    codec_endpoint: str | None = None
    """Where the web UI has payloads decrypted: the API, which asks for a superadmin."""
    dynamic_values: tuple[str, ...] = ()
    """The server's own settings, as `name=value`."""

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def process(self, log: Path, cwd: Path) -> ProcessSpec:
        """How to run it. WAL with `synchronous=normal` keeps every commit over a kill -9 of the server.

        The journal that is the default costs a sync per transaction and is several times slower. The file is named within its
        folder, in which the server works: it puts the name into a URI as it is, where `#`, `?` and `%` mean something else.
        """
        persistence = (
            ()
            if self.database is None
            else (
                "--db-filename", self.database.name,
                "--sqlite-pragma", "journal_mode=wal",
                "--sqlite-pragma", "synchronous=normal",
            )
        )  # fmt: skip
        codec = () if self.codec_endpoint is None else ("--ui-codec-endpoint", self.codec_endpoint)
        dynamic = [
            word for value in (SHUT_HTTP_API, *self.dynamic_values) for word in ("--dynamic-config-value", value)
        ]
        attributes = [word for name in SEARCH_ATTRIBUTES for word in ("--search-attribute", f"{name}=Keyword")]
        return ProcessSpec(
            name="temporal",
            argv=(
                binary("temporal"), "server", "start-dev", "--ip", LOOPBACK, "--port", str(self.port),
                "--ui-ip", self.ui_host, "--ui-port", str(self.ui_port), "--namespace", self.namespace, "--log-level", "warn",
                "--ui-disable-news-fetch", *codec, *persistence, *attributes, *dynamic,
            ),
            log=log,
            cwd=cwd if self.database is None else self.database.parent,
            # HOME: a user's own configuration file is not read. USER: it gives up where a uid without an entry has none.
            env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), "USER": "quarterdeck"},
            stop_timeout_s=2.5,
        )  # fmt: skip

    def is_ready(self) -> bool:
        """Whether the frontend answers for the namespace, asked through the UI: both are up then."""
        connection = http.client.HTTPConnection(self.ui_host, self.ui_port, timeout=PROBE_TIMEOUT_S)
        try:
            connection.request("GET", f"/api/v1/namespaces/{self.namespace}")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def binary(name: str) -> str:
    """The program of that name of this environment, else of the PATH. Raises StartError."""
    beside = Path(sysconfig.get_path("scripts")) / name
    if beside.is_file() and os.access(beside, os.X_OK):
        return str(beside)
    found = shutil.which(name)
    if found is None:
        raise StartError(f"`{name}` is not installed: run `make clean up`, or set QUARTERDECK_TEMPORAL_ADDRESS")
    return found
