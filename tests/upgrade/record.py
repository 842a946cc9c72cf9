"""Record an installation as it is when all its processes die at once, with instances in every state that lasts.

`python -m tests.upgrade.record FOLDER` records the code it runs in: `recorded/README.md` says how that was done for each.
"""

import asyncio
import json
import lzma
import sqlite3
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from models.settings.derived import KEY_FILE
from tests.chaos.installation import Installation, installed

ADMIN_FILE = "admin.json"
THROW_AWAY = "throw-away.json"
"""The home's files that open what is recorded, together: the repository takes none under their own names."""

FOREVER_S = 900_000.0
"""Eleven days: nothing that takes so long is over when the recording is taken up again, unless a test says so."""

USUAL_TYPE, OTHER_TYPE, LARGE_TYPE = "sim-l4-1-24g", "sim-l40s-1-48g", "sim-h100-1-80g"
"""Faults meet machines by zone and type: each of these types has faults of its own."""


async def in_every_state(installation: Installation) -> dict[str, UUID]:
    """State -> an instance that stays in it. The last one is draining, which lasts until its agent speaks again."""
    ready, serving, reinstalling, draining, over = await installation.ready("mock", 5)
    [terminating] = await installation.ready("mock", instance_type=OTHER_TYPE)
    await installation.terminate(over)
    await installation.until_status([over], "terminated")

    await installation.fault("create", "error_before", type=LARGE_TYPE)
    [provisioning] = await installation.deploy("mock", instance_type=LARGE_TYPE)
    await installation.fault("create", "slow_build", type=USUAL_TYPE, delay_s=FOREVER_S, count=1)
    [building] = await installation.deploy("mock")
    await installation.until([building], lambda row: row["provider_instance_id"] is not None, 30.0)
    await installation.fault("create", "slow_start", type=USUAL_TYPE, delay_s=FOREVER_S, count=1)
    [booting] = await installation.deploy("mock")
    await installation.until_status([booting], "booting")
    await installation.fault("create", "no_capacity", type=USUAL_TYPE, count=1)
    [failed] = await installation.deploy("mock", zone="local")
    await installation.until_status([failed], "failed")

    await installation.fault("delete", "ignored", type=OTHER_TYPE)
    await installation.terminate(terminating)
    await installation.until_status([terminating], "terminating")
    await installation.fault("reinstall", "error_before")
    await installation.reinstall(reinstalling)
    held = [provisioning, reinstalling]
    await installation.until(held, lambda row: row["held_code"] is not None, 300.0)
    await installation.terminate(draining)
    await installation.until_status([draining], "draining")
    return {
        "ready": ready, "serving": serving, "reinstalling": reinstalling, "draining": draining, "terminated": over,
        "terminating": terminating, "provisioning": provisioning, "building": building, "booting": booting, "failed": failed,
    }  # fmt: skip


async def record(folder: Path) -> None:
    """Everything dies by SIGKILL; an order that was accepted while nobody could deliver it is among what is left."""
    folder.mkdir(parents=True)  # noqa: ASYNC240 - a program that does nothing beside
    with tempfile.TemporaryDirectory() as temporary:
        async with installed(Path(temporary) / "home", QUARTERDECK_DRAIN_TIMEOUT_S="600") as installation:
            states = await in_every_state(installation)
            await installation.worker.kill()
            await installation.temporal.kill()
            [states["ordered"]] = await installation.deploy("mock")
            await asyncio.gather(installation.api.kill(), installation.simcloud.kill())
            await keep(installation, states, folder)
            await installation.postgres.kill()


async def keep(installation: Installation, states: dict[str, UUID], folder: Path) -> None:
    rows = await installation.instances(list(states.values()))
    [head] = await installation.rows("SELECT version_num FROM alembic_version")
    said = {
        "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "migration": head["version_num"],
        "api_port": installation.settings.api_port,
        "simcloud_port": installation.settings.simcloud_port,
        "instances": {name: {"id": str(one), "status": rows[one]["status"]} for name, one in states.items()},
    }
    (folder / "recording.json").write_text(json.dumps(said, indent=2) + "\n")
    keys = {file: (installation.folder / file).read_text() for file in (KEY_FILE, ADMIN_FILE)}
    (folder / THROW_AWAY).write_text(json.dumps(keys, indent=2) + "\n")
    pg_dump = installation.server.tree / "bin" / "pg_dump"
    process = await asyncio.create_subprocess_exec(
        str(pg_dump), "--restrict-key=recorded", installation.server.url(), stdout=asyncio.subprocess.PIPE
    )
    dumped, _ = await process.communicate()
    assert process.returncode == 0, "pg_dump failed"
    (folder / "database.sql.xz").write_bytes(lzma.compress(dumped, preset=9))
    for database in ("temporal.db", "simcloud.db"):
        (folder / f"{database}.xz").write_bytes(lzma.compress(_whole(installation.folder / database), preset=9))


def _whole(database: Path) -> bytes:
    """With what is in its journal still."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / database.name
        connection = sqlite3.connect(database)
        connection.execute("VACUUM INTO ?", (str(copy),))
        connection.close()
        return copy.read_bytes()


if __name__ == "__main__":
    asyncio.run(record(Path(sys.argv[1])))
