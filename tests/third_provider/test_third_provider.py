"""A provider that the product does not have is added by adding files: a kind, an adapter, seeds."""

import json
import subprocess
import sys
from pathlib import Path

from tests.factories.founded import founded
from tests.servers import TestDatabase


async def test_a_provider_is_added_by_adding_files(database: TestDatabase, tmp_path: Path) -> None:
    principal = await founded(database)
    program = [sys.executable, "-P", str(Path(__file__).parent / "__main__.py")]
    who = [str(principal.organization_id), str(principal.user_id)]
    ran = subprocess.run(  # noqa: ASYNC221  (nothing else runs in this test)
        [*program, database.owner, database.api, database.worker, *who],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {
        "provider": "acme",
        "zone": "moon-1",
        "type": "acme-1",
        "queue": "cloud-acme",
        "on_unavailable": "restart_agent",
        "reinstall": [
            400,
            "REINSTALL_NOT_SUPPORTED",
            "machines of Acme cannot be reinstalled; terminate the instance and deploy a new one",
        ],
        "reinstall_when_silent": [
            "INVALID_PROVIDER",
            "machines of Acme allow no reinstall; order with `on_unavailable` one of wait, restart_agent, terminate",
        ],
        "elsewhere": "acme-poet exists only on machines of Acme",
        "is_offered": True,
        "polls": "cloud-acme",
        "creates": True,
        "by_default": False,
    }
