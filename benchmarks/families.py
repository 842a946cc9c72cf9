"""What a family whose table hangs costs the others: `python -m benchmarks.families`.

One client reads a page of 50 instances of 10,000, while nobody does anything else, and while 20 callers wait for toys (the family
of `tests/toys`), whose table another session holds as a migration that hangs would. By turns in one run. The p95 of the page may
be half as much again at most: what of it is shared, connections or locks, would show as seconds.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.limits import at_least, at_most, conclude, options
from benchmarks.load import Load, http_load, http_load_beside
from benchmarks.reads import ROWS, add_rows
from benchmarks.stack import RunningStack, running_stack
from workers.embedded.stack import Programs

TOYS = (sys.executable, "-P", str(Path(__file__).parents[1] / "tests" / "toys" / "__main__.py"))
PAGE = "/instances/search?limit=50"
CALLERS = 20
LEAST_WAITING = 2
"""Connections of requests that wait for the table at least, or nothing hangs."""
MOST_OF_QUIET = 1.5
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'quarterdeck-api-requests'"
GIVE_UP_S = 30.0


def main() -> int:
    parser = options(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of load per round")
    chosen = parser.parse_args()
    programs = Programs(migrate=(*TOYS, "migrate"), api=(*TOYS, "api"), worker=(*TOYS, "worker"))
    quiet: list[Load] = []
    beside: list[Load] = []
    waiting: list[int] = []
    with running_stack(programs) as stack:
        stack.start_temporal()
        add_rows(stack)
        stack.start_api()
        page = stack.request_file("GET", PAGE)
        http_load(stack.settings.api_port, 1, chosen.seconds, page)  # what is read for the first time is not compared
        for _ in range(chosen.rounds):
            quiet.append(http_load(stack.settings.api_port, 1, chosen.seconds, page))
            with _toys_hang(stack, 3 * chosen.seconds):
                beside.append(http_load(stack.settings.api_port, 1, chosen.seconds, page))
                waiting.append(_waiting(stack))
    ways = {"nothing beside it": quiet, f"{CALLERS} callers wait for toys": beside}
    p50s_ms = {way: statistics.median(load["p50_ms"] for load in loads) for way, loads in ways.items()}
    p95s_ms = {way: statistics.median(load["p95_ms"] for load in loads) for way, loads in ways.items()}
    print(f"\n{'a page of 50 instances':28}{'p50':>10}{'p95':>10}  (1 client, {ROWS:,} rows)")
    for way in ways:
        print(f"{way:28}{p50s_ms[way]:7.2f} ms{p95s_ms[way]:7.2f} ms")
    before, now = p95s_ms.values()
    limits = [
        at_most("p95 of a page beside a family that hangs, of what it is alone", now / before, MOST_OF_QUIET),
        at_least("connections that waited for toys", min(waiting), LEAST_WAITING),
        at_most("failed requests", sum(load["errors"] for loads in ways.values() for load in loads), 0),
    ]
    return conclude({"loads": ways, "p50_ms": p50s_ms, "p95_ms": p95s_ms}, limits, chosen.json)


@contextmanager
def _toys_hang(stack: RunningStack, seconds: float) -> Iterator[None]:
    """From when their callers have all the connections that they get. They go on to the end of the block."""
    request = stack.request_file("GET", "/toys")
    with stack.superuser() as holder, holder.transaction():
        holder.execute("LOCK TABLE toys IN ACCESS EXCLUSIVE MODE")
        with http_load_beside(stack.settings.api_port, CALLERS, seconds, request):
            until = time.monotonic() + GIVE_UP_S
            while _waiting(stack) < LEAST_WAITING and time.monotonic() < until:
                time.sleep(0.05)
            yield


def _waiting(stack: RunningStack) -> int:
    with stack.superuser() as connection:
        row = connection.execute(WAITING).fetchone()
    assert row is not None
    return int(row[0])


if __name__ == "__main__":
    sys.exit(main())
