"""Reading instances, one client, 10,000 rows: `python -m benchmarks.reads`.

An instance and a page of 50, each with a limit: 5 ms at the median (exit 1 where one is missed). Without one, for comparison: a
filtered page, a page of the default size (200 rows of 57 fields), the dearest first (`total_cost` is computed from the billing
segments of every row that may be on the page, never stored), and a route that reads nothing, which is what HTTP and
authentication cost. Also limited: 150 MB (PSS) of the API after 10,000 requests.
"""

import statistics
import sys
from pathlib import Path

from benchmarks.limits import at_most, conclude, options
from benchmarks.load import Load, http_load
from benchmarks.stack import RunningStack, running_stack

ROWS = 10_000
MOST_P50_MS = 5.0
MOST_API_PSS_MB = 150.0
REQUESTS_BEFORE_PSS = 10_000
NOTHING_READ = "GET /auth/me"
LIMITED = {
    "instance": "/instances/{instance_id}",
    "search, 50 rows": "/instances/search?limit=50",
}
OTHERS = {
    "search, 50 ready ones": "/instances/search?limit=50&status=ready",
    "search, 200 rows": "/instances/search",
    "search by total_cost": "/instances/search?sort_by=total_cost",
}

ROWS_SQL = Path(__file__).with_suffix(".sql")


def main() -> int:
    parser = options(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of load per round and route")
    chosen = parser.parse_args()
    with running_stack() as stack:
        stack.start_temporal()
        instance_id = add_rows(stack)
        api = stack.start_api()
        paths = {NOTHING_READ: "/auth/me", **LIMITED, **OTHERS}
        requests = {
            name: stack.request_file("GET", path.format(instance_id=instance_id)) for name, path in paths.items()
        }
        loads: dict[str, list[Load]] = {name: [] for name in paths}
        for _ in range(chosen.rounds):
            for name, request in requests.items():
                loads[name].append(http_load(stack.settings.api_port, 1, chosen.seconds, request))
        while sum(load["requests"] for each in loads.values() for load in each) < REQUESTS_BEFORE_PSS:
            loads[NOTHING_READ].append(http_load(stack.settings.api_port, 4, 2.0, requests[NOTHING_READ]))
        pss_mb = api.pss_mb()
    errors = sum(load["errors"] for each in loads.values() for load in each)
    p50s_ms = {
        name: statistics.median(load["p50_ms"] for load in each[: chosen.rounds]) for name, each in loads.items()
    }
    p95s_ms = {
        name: statistics.median(load["p95_ms"] for load in each[: chosen.rounds]) for name, each in loads.items()
    }
    print(f"\n{'':24}{'p50':>10}{'p95':>10}  (1 client, {ROWS:,} rows)")
    for name in loads:
        print(f"{name:24}{p50s_ms[name]:7.2f} ms{p95s_ms[name]:7.2f} ms")
    limits = [
        *(at_most(f"p50 of {name} (ms)", p50s_ms[name], MOST_P50_MS) for name in LIMITED),
        at_most("PSS of the API after 10,000 requests (MB)", pss_mb, MOST_API_PSS_MB),
        at_most("failed requests", errors, 0),
    ]
    return conclude({"routes": loads, "p50_ms": p50s_ms, "p95_ms": p95s_ms, "pss_mb": pss_mb}, limits, chosen.json)


def add_rows(stack: RunningStack) -> str:
    """Ready, failed and terminated instances with agents, volumes and bills; the id of a ready one."""
    with stack.superuser() as connection:
        connection.execute(ROWS_SQL.read_bytes())
        for table in ("instances", "instance_liveness", "instance_volumes", "billing_segments"):
            connection.execute(f"VACUUM ANALYZE {table}".encode())
        row = connection.execute("SELECT id FROM instances WHERE status = 'ready' ORDER BY id LIMIT 1").fetchone()
        found = connection.execute("SELECT count(*) FROM instances").fetchone()
    assert row is not None
    assert found == (ROWS,)
    return str(row[0])


if __name__ == "__main__":
    sys.exit(main())
