"""Heartbeats as the database takes them: many in one call, one verdict each."""

from collections.abc import Sequence

import orjson
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from models.domain.fleet.instances.heartbeats import Heartbeat, Outcome

LONGEST_INTAKE_GAP_S = 15.0
"""Without word of an API process for this long, heartbeats may have been lost: an agent's silence says nothing then."""

RECORD = text("SELECT ordinal, outcome FROM record_heartbeats(CAST(:entries AS jsonb))")


async def record(session: AsyncSession, heartbeats: Sequence[Heartbeat]) -> list[Outcome]:
    """Verdicts in the order of the heartbeats, of which each agent has at most one.

    What an agent's owner must hear of (`models.domain.fleet.instances.state.Edge`) enters the outbox in the same transaction.
    """
    entries = orjson.dumps([_entry(ordinal, heartbeat) for ordinal, heartbeat in enumerate(heartbeats)])
    rows = (await session.execute(RECORD, {"entries": entries.decode()})).all()
    outcomes = {ordinal: Outcome(outcome) for ordinal, outcome in rows}
    return [outcomes[ordinal] for ordinal in range(len(heartbeats))]


def _entry(ordinal: int, heartbeat: Heartbeat) -> dict[str, object]:
    entry: dict[str, object] = dict(vars(heartbeat))
    report = entry.pop("report_json")
    return entry | {"ordinal": ordinal, "report": orjson.Fragment(report)}  # type: ignore[arg-type]
