"""A fleet: 1,000 `mock` instances ordered at once, provisioned to ready, then terminated: `python -m benchmarks.fleet`.

The oracle is the simulated cloud's own ledger: one live machine per instance and no other when all are ready, none at the end,
and no bill still open. Times are reported without a limit; they hold for one machine that runs the databases, the workflow
engine, the API, the worker, the cloud and 1,000 node agents.

Limits (exit 1 where one is missed): no instance lost, no request failed, no machine left; 250 MB (PSS) of the worker process,
150 MB of the API, both after all of it.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

import httpx

from benchmarks.limits import at_least, at_most, conclude, options
from benchmarks.stack import RunningStack, running_stack

CLIENTS = 32
ORDER = {"model_id": "mock-echo-model", "provider_code": "mock"}
PROVISIONED_WITHIN_S = 600.0
TERMINATED_WITHIN_S = 600.0
LOOK_EVERY_S = 1.0
MOST_API_PSS_MB = 150.0
MOST_WORKER_PSS_MB = 250.0


def main() -> int:
    parser = options(__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=1000)
    chosen = parser.parse_args()
    with running_stack() as stack:
        stack.start_temporal()
        stack.start_simcloud()
        api, worker = stack.start_api(), stack.start_worker()
        idle_mb = {"API": api.pss_mb(), "worker": worker.pss_mb()}
        figures = asyncio.run(_live(stack, chosen.instances))
        pss_mb = {"API": api.pss_mb(), "worker": worker.pss_mb()}
        open_bills = _open_bills(stack)
    for name, value in figures.items():
        print(f"{name:40}{value:10,.1f}")
    for name, value in pss_mb.items():
        print(f"PSS of the {name}, before and after (MB){'':4}{idle_mb[name]:10.1f}{value:10.1f}")
    limits = [
        at_least("instances ready", figures["ready"], chosen.instances),
        at_least("live machines in the ledger when ready", figures["machines when ready"], chosen.instances),
        at_most("machines ever made", figures["machines ever made"], chosen.instances),
        at_most("machines left in the ledger at the end", figures["machines left"], 0),
        at_most("bills open at the end", open_bills, 0),
        at_most("failed requests", figures["failed requests"], 0),
        at_most("PSS of the API (MB)", pss_mb["API"], MOST_API_PSS_MB),
        at_most("PSS of the worker (MB)", pss_mb["worker"], MOST_WORKER_PSS_MB),
    ]
    return conclude({"figures": figures, "pss_mb": pss_mb, "idle_pss_mb": idle_mb}, limits, chosen.json)


async def _live(stack: RunningStack, count: int) -> dict[str, float]:
    """Order, wait until ready, terminate, wait until gone. Seconds, and counts."""
    async with stack.client(CLIENTS) as client:
        began_s = time.monotonic()
        ordered = await _each(range(count), lambda _: client.post("/deployments", json=ORDER))
        ids = [answer.json()["instance_id"] for answer in ordered if answer.status_code == httpx.codes.OK]
        accepted_s = time.monotonic() - began_s
        ready, ready_s = await _until(client, "ready", count, PROVISIONED_WITHIN_S)
        when_ready = stack.ledger()
        ended_s = time.monotonic()
        ended = await _each(ids, lambda one: client.delete(f"/instances/{one}"))
        told_s = time.monotonic() - ended_s
        terminated, gone_s = await _until(client, "terminated", len(ids), TERMINATED_WITHIN_S)
        at_the_end = stack.ledger()
    return {
        "orders accepted after (s)": accepted_s,
        "all ready after (s)": accepted_s + ready_s,
        "terminations accepted after (s)": told_s,
        "all terminated after (s)": told_s + gone_s,
        "ready": ready,
        "terminated": terminated,
        "machines when ready": when_ready["live_machines"],
        "machines ever made": at_the_end["live_machines"] + at_the_end["ended_machines"],
        "machines left": at_the_end["live_machines"],
        "failed requests": sum(not answer.is_success for answer in (*ordered, *ended)),
    }


async def _each(
    items: Sequence[object], request: Callable[[object], Awaitable[httpx.Response]]
) -> list[httpx.Response]:
    """As many requests at a time as there are clients."""
    slots = asyncio.Semaphore(CLIENTS)

    async def one(item: object) -> httpx.Response:
        async with slots:
            return await request(item)

    return await asyncio.gather(*(one(item) for item in items))


async def _until(client: httpx.AsyncClient, status: str, count: int, timeout_s: float) -> tuple[int, float]:
    """How many have the status when all have it or the time is over, and how long that took."""
    began_s, reached = time.monotonic(), 0
    while reached < count and time.monotonic() - began_s < timeout_s:
        answer = await client.get("/instances/search", params={"status": status, "limit": 1})
        reached = answer.json()["filtered_count"]
        await asyncio.sleep(LOOK_EVERY_S)
    return reached, time.monotonic() - began_s


def _open_bills(stack: RunningStack) -> int:
    with stack.superuser() as connection:
        row = connection.execute("SELECT count(*) FROM billing_segments WHERE closed_at IS NULL").fetchone()
    assert row is not None
    return int(row[0])


if __name__ == "__main__":
    sys.exit(main())
