"""Which listed machines nobody looks after, and what is kept of them until that is over."""

import json
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select

from models.domain.fleet.instances.machines import Machine
from models.domain.fleet.instances.unowned import UnownedReason
from models.repositories.database import Database
from models.tables.fleet.unowned import UnownedMachine
from models.tables.installation import Installation

JUDGE = text("SELECT provider_instance_id, reason FROM judge_machines(CAST(:machines AS jsonb))")
REPORT = text("SELECT report_unowned_machine(:queue, :reason, CAST(:machine AS jsonb))")
SETTLE = text("SELECT settle_unowned_machine(:queue, :id, :ended)")

LISTED = text("""
WITH before AS (SELECT failures FROM machine_listings WHERE provider_queue = :queue)
INSERT INTO machine_listings AS l (provider_queue, completed_at, machines, failures) VALUES (:queue, now(), :machines, 0)
ON CONFLICT (provider_queue) DO UPDATE
    SET completed_at = now(), machines = :machines, failures = 0, failing_since = NULL, error_code = NULL
RETURNING coalesce((SELECT failures FROM before), 0)
""")
FAILED = text("""
INSERT INTO machine_listings AS l (provider_queue, machines, failures, failing_since, error_code)
VALUES (:queue, 0, 1, now(), :error_code)
ON CONFLICT (provider_queue) DO UPDATE
    SET failures = l.failures + 1, failing_since = coalesce(l.failing_since, now()), error_code = :error_code
RETURNING failures
""")

SAID_AFTER_FAILURES = 2
"""One list that fails is a hiccup, or a worker that is started anew."""


class UnownedMachines:
    """Of all organizations. Raises ServiceUnavailable while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def installation_id(self) -> UUID:
        async with self._database.system() as session:
            return (await session.exec(select(Installation.id))).one()

    async def judge(self, machines: Sequence[Machine]) -> dict[str, UnownedReason]:
        """Those that no owner looks after. To be asked after the provider: a row is there before its machine."""
        if not machines:
            return {}
        told = [
            {"provider_instance_id": one.provider_instance_id, "instance_id": str(one.instance_id or "") or None}
            for one in machines
        ]
        async with self._database.system() as session:
            rows = await session.execute(JUDGE, {"machines": json.dumps(told)})
            return {row.provider_instance_id: UnownedReason(row.reason) for row in rows}

    async def reported(self, queue: str) -> dict[str, UnownedMachine]:
        """What is kept of this provider, by machine."""
        statement = select(UnownedMachine).where(col(UnownedMachine.provider_queue) == queue)
        async with self._database.system() as session:
            return {one.provider_instance_id: one for one in (await session.exec(statement)).all()}

    async def report(self, queue: str, machine: Machine, reason: UnownedReason) -> bool:
        """Keep it, and raise the alarm. True for the first to do so."""
        values = {"queue": queue, "reason": reason, "machine": machine.model_dump_json()}
        async with self._database.system() as session:
            return bool((await session.execute(REPORT, values)).scalar_one())

    async def settle(self, queue: str, machine_id: str, *, ended: bool) -> None:
        """It is kept no longer: it has an owner again, or is gone; `ended`: because an operator wanted it to end."""
        async with self._database.system() as session:
            await session.execute(SETTLE, {"queue": queue, "id": machine_id, "ended": ended})

    async def listed(self, queue: str, machines: int) -> bool:
        """There is a list. True where it was said that there is none."""
        async with self._database.system() as session:
            failures = (await session.execute(LISTED, {"queue": queue, "machines": machines})).scalar_one()
            return bool(failures >= SAID_AFTER_FAILURES)

    async def failed(self, queue: str, error_code: str) -> bool:
        """There is none. True where it is to be said now."""
        async with self._database.system() as session:
            failures = (await session.execute(FAILED, {"queue": queue, "error_code": error_code})).scalar_one()
            return bool(failures == SAID_AFTER_FAILURES)
