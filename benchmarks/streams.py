"""What an organization's own stream costs those who write to it: `python -m benchmarks.streams`.

200 writers of one organization, each with the transaction of a command: three short reads and two events. Its stream is locked
from the event to the transaction's end where the event gets its number at once, first (as nobody did) or last (as all did),
and at the commit alone as it is now. All three in one run, by turns. Commits that notify are one after another: that is the rest.
"""

import asyncio
import statistics
import sys
import time
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import TextClause, text

from benchmarks.limits import at_most, conclude, options
from benchmarks.stack import RunningStack, running_stack
from models.repositories.database import Database
from models.settings.derived import DatabaseRole, database_url

WRITERS = 200
CONNECTIONS = 60
MOST_OF_BEFORE = 1.0

AT_ONCE = """
CREATE FUNCTION append_event_at_once(p_stream text, p_organization_id uuid, p_kind text, p_data jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE next_seq bigint;
BEGIN
    INSERT INTO event_streams AS s (stream, organization_id, last_seq) VALUES (p_stream, p_organization_id, 1)
        ON CONFLICT (stream) DO UPDATE SET last_seq = s.last_seq + 1
        RETURNING s.last_seq INTO next_seq;
    INSERT INTO events (stream, seq, organization_id, kind, data)
        VALUES (p_stream, next_seq, p_organization_id, p_kind, p_data);
    PERFORM pg_notify('events', p_stream);
    RETURN next_seq;
END $$;
GRANT EXECUTE ON FUNCTION append_event_at_once TO quarterdeck_api;
"""
"""`append_event` as it was."""

READ = text("SELECT count(*) FROM operations WHERE resource_id = gen_random_uuid()")


@dataclass(frozen=True)
class Way:
    name: str
    function: str
    is_first: bool = False

    @property
    def append(self) -> TextClause:
        kinds = "unnest(ARRAY['instance.updated', 'action_log.created'])"
        return text(f"SELECT {self.function}(:stream, :organization, kind, '{{}}') FROM {kinds} kind")  # noqa: S608 (constants)


FIRST = Way("at once, first in the transaction", "append_event_at_once", is_first=True)
LAST = Way("at once, last in the transaction", "append_event_at_once")
NOW = Way("at the commit", "append_event")
WAYS = (FIRST, LAST, NOW)


def main() -> int:
    parser = options(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--each", type=int, default=5, help="transactions per writer and round")
    chosen = parser.parse_args()
    with running_stack() as stack:
        with stack.superuser() as connection:
            connection.execute("SET ROLE quarterdeck_owner")
            connection.execute(AT_ONCE.encode())
            found = connection.execute("SELECT id FROM organizations WHERE NOT is_personal").fetchone()
        assert found is not None
        taken = asyncio.run(_measured(stack, found[0], chosen.rounds, chosen.each))
    p50s_ms = {way.name: statistics.median(taken[way]) for way in WAYS}
    p95s_ms = {way.name: statistics.quantiles(taken[way], n=20)[18] for way in WAYS}
    print(f"\n{'the number is taken':36}{'p50':>10}{'p95':>10}  ({WRITERS} writers)")
    for way in WAYS:
        print(f"{way.name:36}{p50s_ms[way.name]:7.0f} ms{p95s_ms[way.name]:7.0f} ms")
    ratio = p95s_ms[NOW.name] / p95s_ms[LAST.name]
    limits = [at_most(f"p95 of {WRITERS} writers, of what it was", ratio, MOST_OF_BEFORE)]
    return conclude({"p50_ms": p50s_ms, "p95_ms": p95s_ms}, limits, chosen.json)


async def _measured(stack: RunningStack, organization_id: UUID, rounds: int, each: int) -> dict[Way, list[float]]:
    """Milliseconds of every transaction."""
    database = Database(database_url(stack.settings, DatabaseRole.API), pool_size=CONNECTIONS)
    taken: dict[Way, list[float]] = {way: [] for way in WAYS}
    try:
        for number in range(rounds):
            for way in WAYS[number % len(WAYS) :] + WAYS[: number % len(WAYS)]:
                writers = [_write(database, organization_id, way, each, taken[way]) for _ in range(WRITERS)]
                await asyncio.gather(*writers)
    finally:
        await database.close()
    return taken


async def _write(database: Database, organization_id: UUID, way: Way, each: int, taken: list[float]) -> None:
    values = {"stream": f"organization/{organization_id}", "organization": organization_id}
    for _ in range(each):
        began = time.perf_counter()
        async with database.tenant(organization_id) as session:
            if way.is_first:
                await session.execute(way.append, values)
            for _ in range(3):
                await session.execute(READ)
            if not way.is_first:
                await session.execute(way.append, values)
        taken.append(1000 * (time.perf_counter() - began))


if __name__ == "__main__":
    sys.exit(main())
