"""Accepting orders beside the least that a workflow engine costs: `python -m benchmarks.deployments`.

`POST /deployments` is answered when the order, its operation, its log and its outbox row are committed; the workflow is started
right after, by the same process. The other contestant is the SDK's `start_workflow` on the same server, with nothing around it.
No worker runs, the number of clients is the same, rounds alternate, and what one round leaves in the queues is waited for before
the next begins.

Limit (exit 1 where it is missed): at least 80 % of the throughput of the bare start.
"""

import statistics
import sys
import time

from benchmarks.limits import at_least, at_most, conclude, options
from benchmarks.load import Load, http_load, start_load
from benchmarks.stack import RunningStack, running_stack

CLIENTS = 16
LEAST_SHARE_OF_BARE = 0.8
ORDER = {"model_id": "mock-echo-model", "provider_code": "mock"}
QUIET_TIMEOUT_S = 30.0


def main() -> int:
    parser = options(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0, help="of load per round and contestant")
    chosen = parser.parse_args()
    ours: list[Load] = []
    bare: list[Load] = []
    with running_stack() as stack:
        stack.start_temporal()
        stack.start_api()
        order = stack.request_file("POST", "/deployments", ORDER)
        for seconds in (1.0, *[chosen.seconds] * chosen.rounds):
            ours.append(http_load(stack.settings.api_port, CLIENTS, seconds, order))
            _until_quiet(stack)
            bare.append(start_load(stack.temporal_address, CLIENTS, seconds))
        committed = _committed(stack)
    errors = sum(load["errors"] for load in ours) + sum(load["requests"] for load in ours) - committed
    del ours[0], bare[0]  # the first round warms up
    share = statistics.median(mine.per_second / least.per_second for mine, least in zip(ours, bare, strict=True))
    contestants = {"POST /deployments": ours, "bare start_workflow": bare}
    print(f"\n{'':24}{'accepted/s':>12}  (median of {len(ours)} rounds, {CLIENTS} clients)")
    for name, loads in contestants.items():
        print(f"{name:24}{statistics.median(load.per_second for load in loads):12,.0f}")
    limits = [
        at_least("accepted orders as a share of bare starts", share, LEAST_SHARE_OF_BARE),
        at_most("orders answered and not committed, or failed", errors, 0),
    ]
    return conclude({"contestants": contestants}, limits, chosen.json)


def _until_quiet(stack: RunningStack) -> None:
    """Until the API has started the workflows that it means to start itself; the rest is the dispatcher's, and none runs."""
    deadline, undelivered = time.monotonic() + QUIET_TIMEOUT_S, -1
    while time.monotonic() < deadline:
        before, undelivered = undelivered, _count(stack, "SELECT count(*) FROM outbox WHERE delivered_at IS NULL")
        if undelivered == before:
            return
        time.sleep(0.5)
    raise SystemExit("the API does not come to rest")


def _committed(stack: RunningStack) -> int:
    return _count(stack, "SELECT count(*) FROM operations JOIN outbox USING (workflow_id)")


def _count(stack: RunningStack, statement: str) -> int:
    with stack.superuser() as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return int(row[0])


if __name__ == "__main__":
    sys.exit(main())
