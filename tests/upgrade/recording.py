"""A recorded installation (`record.py`), put into a home of its own so that the code of today can be started over it."""

import json
import lzma
import os
import sqlite3
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import psycopg

from models.migrations import ensure_roles
from models.settings.derived import KEY_FILE, DatabaseRole
from tests.upgrade.record import ADMIN_FILE, THROW_AWAY
from workers.embedded.home import open_home, write_private
from workers.embedded.ports import free_port
from workers.embedded.postgres import PostgresServer

RECORDED = Path(__file__).with_name("recorded")


@dataclass(frozen=True)
class Recording:
    """Read-only: `put_into` makes copies."""

    folder: Path
    recorded_at: datetime
    migration: str
    api_port: int
    simcloud_port: int
    instances: dict[str, UUID]
    """State that it was held in -> the instance."""
    statuses: dict[UUID, str]
    """As its readers saw it last."""

    @classmethod
    def read(cls, name: str) -> "Recording":
        folder = RECORDED / name
        said = json.loads((folder / "recording.json").read_text())
        found = said["instances"]
        return cls(
            folder,
            datetime.fromisoformat(said["recorded_at"]),
            said["migration"],
            said["api_port"],
            said["simcloud_port"],
            {state: UUID(one["id"]) for state, one in found.items()},
            {UUID(one["id"]): one["status"] for one in found.values()},
        )

    def kept(self, file: str) -> str:
        """A file of the home that opens what was recorded, and nothing else."""
        return str(json.loads((self.folder / THROW_AWAY).read_text())[file])

    def put_into(self, home: Path) -> "Restored":
        """Everything but the database, which needs a server: `Restored.fill`. Its machines know where the API is to be now, and
        what was being built is built.
        """
        open_home(home)
        write_private(home / KEY_FILE, self.kept(KEY_FILE))
        for file in ("temporal.db", "simcloud.db"):
            (home / file).write_bytes(lzma.decompress((self.folder / f"{file}.xz").read_bytes()))
            (home / file).chmod(0o600)
        restored = Restored(self, home, api_port=free_port(), simcloud_port=free_port())
        with sqlite3.connect(home / "simcloud.db") as ledger:
            moved = (f"127.0.0.1:{self.api_port}", f"127.0.0.1:{restored.api_port}")
            ledger.execute("UPDATE machines SET user_data = replace(user_data, ?, ?)", moved)
            ledger.execute(
                "UPDATE machines SET next_at = min(next_at, unixepoch())"
            )  # however long ago it was recorded
        ledger.close()
        return restored


@dataclass(frozen=True)
class Restored:
    recording: Recording
    home: Path
    api_port: int
    simcloud_port: int

    @property
    def variables(self) -> dict[str, str]:
        return {
            "QUARTERDECK_API_PORT": str(self.api_port),
            "QUARTERDECK_SIMCLOUD_PORT": str(self.simcloud_port),
        }

    def fill(self, server: PostgresServer) -> None:
        """The dump, as its owner had it. Simulated machines answer at the port of their cloud, which is another one now."""
        url = server.url()
        ensure_roles(
            url, {role: os.urandom(16).hex() for role in DatabaseRole}
        )  # `migrate` sets those that are to hold
        subprocess.run(
            [server.tree / "bin" / "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-", url],
            input=lzma.decompress((self.recording.folder / "database.sql.xz").read_bytes()),
            stdout=subprocess.DEVNULL,
            check=True,
        )
        write_private(self.home / ADMIN_FILE, self.recording.kept(ADMIN_FILE))
        with psycopg.connect(url) as connection:
            connection.execute(
                "UPDATE instances SET endpoint_port = %s WHERE endpoint_port = %s",
                (self.simcloud_port, self.recording.simcloud_port),
            )
