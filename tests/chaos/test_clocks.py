"""The clocks of API, worker and cloud hours apart, forward and back, and set while they run: nothing comes sooner or later for it."""

import asyncio
import json
from uuid import UUID

import pytest

from tests.chaos import scoreboard
from tests.chaos.installation import Installation, Row
from tests.chaos.ledger import verify
from tests.chaos.scenarios import MARKS, scenario
from tests.chaos.shifted_clock import ShiftedClock

pytestmark = [*MARKS]

APART = [(1, -1, 2), (-1, 1, -2)]
"""By how many hours the API, the worker and the cloud are ahead of the database and of Temporal; then by how many once they are
set."""
EFFECT_WITHIN_S = 15.0
MINUTE = "interval '1 minute'"
STRAY = f"""
SELECT 'outbox' AS what, id FROM outbox WHERE delivered_at IS NULL AND next_attempt_at > now() + {MINUTE}
UNION ALL SELECT 'outbox', id FROM outbox WHERE abs(extract(epoch FROM delivered_at - created_at)) > 60
UNION ALL SELECT 'session', id FROM user_sessions
    WHERE created_at > now() - interval '10 minutes' AND expires_at NOT BETWEEN now() + interval '11 hours' AND now() + interval '13 hours'
UNION ALL SELECT 'token', id FROM worker_tokens WHERE bootstrap_expires_at > now() + interval '1 hour' + {MINUTE}
UNION ALL SELECT 'instance', id FROM instances
    WHERE greatest(create_attempted_at, boot_started_at, ready_at, terminated_at, held_since, waiting_since) > now() + {MINUTE}
UNION ALL SELECT 'operation', id FROM operations WHERE greatest(created_at, started_at, completed_at) > now() + {MINUTE}
UNION ALL SELECT 'operation', id FROM operations WHERE completed_at < created_at
UNION ALL SELECT 'request', id FROM inference_requests
    WHERE started_at NOT BETWEEN recorded_at - {MINUTE} AND recorded_at + interval '1 second' OR completed_at < started_at
UNION ALL SELECT 'action', id FROM action_logs WHERE completed_at > now() + {MINUTE} OR duration_ms > 600000
UNION ALL SELECT 'liveness', instance_id FROM instance_liveness WHERE last_heartbeat_at > now() + {MINUTE} OR is_stale
"""  # noqa: S608  (constants)


class ApartInstallation:
    """Its three processes, each with a clock of its own."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.parts = (installation.api, installation.worker, installation.simcloud)
        self.clocks = [ShiftedClock(installation.folder / f"{part.part.name}.clock") for part in self.parts]

    def set(self, shifts: tuple[int, ...]) -> None:
        for clock, hours in zip(self.clocks, shifts, strict=True):
            clock.shift(hours)

    async def start(self, shifts: tuple[int, ...]) -> None:
        self.set(shifts)
        await asyncio.gather(*(part.stop() for part in self.parts))
        await asyncio.gather(
            *(part.start(**clock.environment) for part, clock in zip(self.parts, self.clocks, strict=True))
        )


@pytest.mark.parametrize("shifts", APART, ids=["forward", "back"])
@scenario
async def test_clocks_apart_and_set_while_they_run_change_nothing(
    installation: Installation, shifts: tuple[int, ...]
) -> None:
    apart = ApartInstallation(installation)
    await apart.start(shifts)
    token = await signed_in(installation)
    first = await installation.ready("mock", 3)
    await work(installation, first[:2], token)
    apart.set(tuple(-hours for hours in shifts))
    second = await installation.ready("mock", 2)
    await work(installation, [first[2], second[0]], token)
    await installation.terminate(first[1], second[0], second[1])
    made = [*first, *second]
    await installation.until([first[0], first[2]], is_ended, EFFECT_WITHIN_S)
    await installation.until(made, is_ended, EFFECT_WITHIN_S)
    await verify(installation, made)
    assert await installation.rows(STRAY) == []


def is_ended(row: Row) -> bool:
    return bool(row["status"] == "terminated")


def is_renewed(row: Row) -> bool:
    return bool(row["status"] == "ready" and row["generation"] == 2)


async def work(installation: Installation, pair: list[UUID], token: str) -> None:
    """One of the pair ends, the other is installed anew and serves; every command is heard on the stream, with a session from before."""
    to_end, to_renew = pair
    me = await installation.http.get(f"{installation.admin['api_url']}/auth/me", headers=bearer(token))
    assert me.status_code == 200, me.text
    listening = asyncio.Event()
    stream = asyncio.create_task(heard(installation, token, to_end, listening))
    await listening.wait()
    key = f"end-{to_end}"
    ended = await installation.call("DELETE", f"/instances/{to_end}", key=key)
    assert ended.status_code == 202, ended.text
    again = await installation.call("DELETE", f"/instances/{to_end}", key=key)
    assert again.headers["idempotent-replayed"] == "true", "an answer is kept for a day"
    await installation.reinstall(to_renew)
    await installation.until([to_end], is_ended, EFFECT_WITHIN_S)
    await installation.until([to_renew], is_renewed, EFFECT_WITHIN_S)
    async with asyncio.timeout(scoreboard.patience_s(EFFECT_WITHIN_S)):
        await stream
    body = {"model": "mock-echo-model", "messages": [{"role": "user", "content": "x"}]}
    answered = await installation.call("POST", "/v1/chat/completions", key=f"chat-{to_renew}", body=body)
    assert answered.status_code == 200, answered.text
    kept = await installation.call("POST", "/v1/chat/completions", key=f"chat-{to_renew}", body=body)
    assert kept.json()["id"] == answered.json()["id"]


async def signed_in(installation: Installation) -> str:
    body = {"email": installation.admin["email"], "password": installation.admin["password"]}
    answer = await installation.http.post(f"{installation.admin['api_url']}/auth/login", json=body)
    assert answer.status_code == 200, answer.text
    installation.http.cookies.clear()
    assert 11 * 3600 < answer.json()["expires_in"] <= 12 * 3600
    return str(answer.json()["access_token"])


async def heard(installation: Installation, token: str, instance_id: UUID, listening: asyncio.Event) -> None:
    """Until the organization's stream, which begins with a greeting, tells of the instance."""
    address = f"{installation.admin['api_url']}/events/stream"
    async with installation.http.stream("GET", address, headers=bearer(token)) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            listening.set()
            if line.startswith("data: ") and str(instance_id) in json.loads(line.removeprefix("data: ")).get("ids", []):
                return
    raise AssertionError("the stream ended")


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}
