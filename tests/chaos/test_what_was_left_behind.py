"""After everything: no secret and no prompt in any history, log or record that people or operators read.

What is planted is planted through the front door: a prompt and an answer, the keys of the installation, the tokens of agents.
"""

import asyncio
import json
from pathlib import Path
from uuid import uuid4

from models.settings.derived import DatabaseRole, database_password, installation_key, simcloud_token
from tests.chaos import scoreboard
from tests.chaos.installation import Installation
from tests.chaos.scenarios import MARKS, scenario
from tests.secrets_scan import scan_bytes, scan_files, scan_histories

pytestmark = [*MARKS]

READ_BY_PEOPLE = (
    "operations",
    "action_logs",
    "events",
    "outbox",
    "idempotency_keys",
    "instances",
    "instance_state_history",
)


@scenario
async def test_no_secret_and_no_prompt_was_kept(installation: Installation) -> None:
    prompt = f"the patient's name is {uuid4().hex}"
    made = [*await installation.ready("mock"), *await installation.ready("local")]
    for model in ("mock-echo-model", "smollm2-135m-instruct"):
        await _ask(installation, model, prompt)
    secrets = [prompt, *_secrets_of(installation)]
    for one in made:
        answer = await installation.call("POST", f"/instances/{one}/reinstall", key=str(uuid4()), body={})
        assert answer.status_code == 202, answer.text
    await installation.until(made, lambda row: row["status"] == "ready" and row["generation"] == 2, 30.0)
    secrets += _secrets_of(installation)
    for model in ("mock-echo-model", "smollm2-135m-instruct"):
        await _ask(installation, model, prompt)
    await installation.terminate(*made)
    await installation.until_status(made, "terminated")
    client = await installation.temporal_client()
    for one in made:
        await client.get_workflow_handle(f"instance/{one}").result()

    plain = await installation.plain_temporal_client()
    async with asyncio.timeout(scoreboard.patience_s(20)):
        while len([one async for one in plain.list_workflows("ExecutionStatus = 'Completed'")]) < len(made):
            await asyncio.sleep(0.1)
    count, finds = await scan_histories(plain, secrets, "WorkflowType = 'Instance'")
    assert count >= len(made)
    finds += scan_files(_files(installation.folder), secrets)
    for table in READ_BY_PEOPLE:
        rows = await installation.rows(f"SELECT to_jsonb(t)::text AS content FROM {table} t")  # noqa: S608 - constants
        assert rows, f"{table} holds nothing, so nothing was looked at"
        finds += scan_bytes("\n".join(row["content"] for row in rows).encode(), secrets, f"table {table}")
    assert finds == []


async def _ask(installation: Installation, model: str, prompt: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 8}
    async with asyncio.timeout(scoreboard.patience_s(20)):
        while True:
            answer = await installation.call("POST", "/v1/chat/completions", body=body)
            if answer.status_code == 200:
                return
            assert answer.status_code in (404, 503), answer.text  # its route is not known to the gateway yet
            await asyncio.sleep(0.2)


def _secrets_of(installation: Installation) -> list[str]:
    """The secrets there are now: of the installation, and of the agents on this machine."""
    settings = installation.settings
    key = installation_key(settings)
    found = [
        installation.admin["api_key"],
        installation.admin["password"],
        (installation.folder / "installation.key").read_text().strip(),
        simcloud_token(settings).get_secret_value(),
        *(database_password(key, role) for role in DatabaseRole),
        str(json.loads((installation.folder / "postgres.json").read_text())["password"]),
    ]
    for machine in (installation.folder / "instances").glob("m-*"):
        for name in ("boot.json", "credentials.json"):
            if (machine / name).exists():
                content = json.loads((machine / name).read_text())
                found += [value for field, value in content.items() if "token" in field or "key" in field if value]
    return sorted({secret for secret in found if isinstance(secret, str) and "." not in secret})


def _files(folder: Path) -> list[Path]:
    """Every log, and the whole database of Temporal; agents' logs lie with their machines."""
    return [*folder.glob("logs/*.log*"), *folder.glob("temporal.db*"), *folder.glob("instances/*/agent.log*")]
