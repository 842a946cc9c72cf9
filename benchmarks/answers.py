"""How soon something shows that must not wait: `python -m benchmarks.answers`.

Commands with a workflow engine that takes connections and says nothing: an order, a reinstall's refusal and an end are answered
all the same. An event, from its commit by another process to a reader of the stream. A revoked key, from the commit to the
first 401. A sign-in with a login that nobody has, beside one with a wrong password, which it must not be told from.

Limits (exit 1 where one is missed): 1 s for the slowest command, 2 s for the slowest event, 1 s for the slowest revocation;
between half and twice the time for the unknown login.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import httpx

from benchmarks.limits import Limit, at_most, conclude, options
from benchmarks.stack import RunningStack, running_stack
from models.domain.identity import passwords

ORDER = {"model_id": "mock-echo-model", "provider_code": "mock"}
MOST_COMMAND_S = 1.0
MOST_EVENT_S = 2.0
MOST_REVOCATION_S = 1.0
MOST_RATIO = 2.0
GIVE_UP_S = 30.0
APPEND = "SELECT append_event(%s, %s, 'instance.updated', '{\"ids\": []}'::jsonb)"


def main() -> int:
    parser = options(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    chosen = parser.parse_args()
    with running_stack() as stack:
        seconds = asyncio.run(_measured(stack, chosen.rounds))
    seconds |= _sign_ins(chosen.rounds)
    print(f"\n{'':28}{'median':>12}{'slowest':>12}")
    for name, times in seconds.items():
        print(f"{name:28}{statistics.median(times) * 1000:9.1f} ms{max(times) * 1000:9.1f} ms")
    known, unknown = (statistics.median(seconds[f"sign-in, {who} login"]) for who in ("known", "unknown"))
    ratio = unknown / known
    limits = [
        at_most("slowest command without an engine (s)", max(seconds["command"]), MOST_COMMAND_S),
        at_most("slowest event on the stream (s)", max(seconds["event"]), MOST_EVENT_S),
        at_most("slowest revocation (s)", max(seconds["revocation"]), MOST_REVOCATION_S),
        Limit("unknown login beside a known one", ratio, MOST_RATIO, 1 / MOST_RATIO <= ratio <= MOST_RATIO),
    ]
    return conclude({"seconds": seconds}, limits, chosen.json)


async def _measured(stack: RunningStack, rounds: int) -> dict[str, list[float]]:
    async with _silent(stack.settings.temporal_port), _api(stack) as client:
        return {
            "command": await _commands(client, rounds),
            "event": await _events(stack, client, rounds),
            "revocation": await _revocations(stack, client, rounds),
        }


@asynccontextmanager
async def _silent(port: int) -> AsyncIterator[None]:
    """A server that takes connections and says nothing."""
    accepted: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _reader, writer: accepted.append(writer), "127.0.0.1", port)
    try:
        yield
    finally:
        for writer in accepted:
            writer.close()
        server.close()


@asynccontextmanager
async def _api(stack: RunningStack) -> AsyncIterator[httpx.AsyncClient]:
    await asyncio.to_thread(stack.start_api)
    async with stack.client() as client:
        yield client


async def _commands(client: httpx.AsyncClient, rounds: int) -> list[float]:
    took_s = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        ordered = await client.post("/deployments", json=ORDER)
        took_s.append(time.perf_counter() - began_s)
        ordered.raise_for_status()
        began_s = time.perf_counter()
        ended = await client.delete(f"/instances/{ordered.json()['instance_id']}")
        took_s.append(time.perf_counter() - began_s)
        ended.raise_for_status()
    return took_s


async def _events(stack: RunningStack, client: httpx.AsyncClient, rounds: int) -> list[float]:
    took_s = []
    organization_id = _one(stack, "SELECT id FROM organizations ORDER BY id LIMIT 1")
    async with client.stream("GET", "/events/stream") as response:
        lines = response.aiter_lines()
        await _next_event(lines)  # the hello
        with stack.superuser() as connection:
            for _ in range(rounds):
                connection.execute(APPEND, (f"organization/{organization_id}", organization_id))
                began_s = time.perf_counter()
                await _next_event(lines)
                took_s.append(time.perf_counter() - began_s)
    return took_s


async def _next_event(lines: AsyncIterator[str]) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        async for line in lines:
            if line.startswith("data:"):
                return
    raise SystemExit("the stream has ended")


async def _revocations(stack: RunningStack, client: httpx.AsyncClient, rounds: int) -> list[float]:
    took_s = []
    with stack.superuser() as connection:
        for number in range(rounds):
            made = await client.post("/api_keys", json={"name": f"bench {number}"})
            made.raise_for_status()
            bearer = {"Authorization": f"Bearer {made.json()['api_key']}"}
            (await client.get("/auth/me", headers=bearer)).raise_for_status()
            connection.execute("UPDATE api_keys SET revoked_at = now() WHERE name = %s", (f"bench {number}",))
            began_s = time.perf_counter()
            async with asyncio.timeout(GIVE_UP_S):
                while (await client.get("/auth/me", headers=bearer)).status_code != 401:
                    continue
            took_s.append(time.perf_counter() - began_s)
    return took_s


def _sign_ins(rounds: int) -> dict[str, list[float]]:
    """The check of the password, which is all that a sign-in takes."""
    stored = passwords.hash_password("correct horse")
    passwords.verify_password(None, "warm up")
    took_s: dict[str, list[float]] = {"sign-in, known login": [], "sign-in, unknown login": []}
    for _ in range(rounds):
        for name, stored_hash in zip(took_s, (stored, None), strict=True):
            began_s = time.perf_counter()
            passwords.verify_password(stored_hash, "wrong")
            took_s[name].append(time.perf_counter() - began_s)
    return took_s


def _one(stack: RunningStack, statement: str) -> UUID:
    with stack.superuser() as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return UUID(str(row[0]))


if __name__ == "__main__":
    sys.exit(main())
