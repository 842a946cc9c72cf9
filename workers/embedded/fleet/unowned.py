"""Machines at providers that belong to nobody, as `status`, `doctor` and `machines` show them: read from the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from models.domain.fleet.instances.unowned import SENTENCES, UnownedReason
from models.settings import Settings, SettingsError
from models.settings.derived import DatabaseRole, database_url
from workers.embedded.errors import StartError
from workers.embedded.finding import Finding

CONNECT_TIMEOUT_S: Final = 3
STATEMENT_MS: Final = 3000

UNOWNED = """
SELECT provider_queue, provider_instance_id, reason, zone, instance_type, name, instance_id, price_eur_per_hour, created_at,
    found_at, end_requested_at
FROM unowned_machines ORDER BY found_at, provider_queue, provider_instance_id
"""
UNLISTED = (
    "SELECT provider_queue, failing_since, error_code FROM machine_listings WHERE failures >= 2 ORDER BY provider_queue"
)
REQUEST_END = """
UPDATE unowned_machines SET end_requested_at = coalesce(end_requested_at, now())
WHERE provider_queue = %s AND provider_instance_id = %s RETURNING 1
"""


@dataclass(frozen=True)
class Unowned:
    """A machine that belongs to nobody."""

    provider_queue: str
    provider_instance_id: str
    reason: UnownedReason
    zone: str
    instance_type: str
    name: str
    instance_id: UUID | None
    price_eur_per_hour: str | None
    created_at: datetime
    found_at: datetime
    end_requested_at: datetime | None

    @property
    def text(self) -> str:
        told = ", is being ended" if self.end_requested_at else ""
        return (
            f"at {self.provider_queue} ({self.zone}, {self.instance_type}) since {self.created_at:%Y-%m-%d %H:%M} UTC: "
            f"{SENTENCES[self.reason]}{told}"
        )

    @property
    def remedy(self) -> str:
        return f"`quarterdeck machines end {self.provider_instance_id}` ends it; until then it is billed"


@dataclass(frozen=True)
class Unlisted:
    """A provider that has given no list of its machines for some time."""

    provider_queue: str
    failing_since: datetime
    error_code: str

    @property
    def text(self) -> str:
        since = f"{self.failing_since:%Y-%m-%d %H:%M} UTC"
        return f"cannot be listed since {since} ({self.error_code}): what belongs to nobody there is not seen"


@dataclass(frozen=True)
class Machines:
    unowned: list[Unowned]
    unlisted: list[Unlisted]


def look(settings: Settings) -> Machines:
    """Raises StartError where the database cannot be asked."""
    with connected(settings) as connection:
        rows = connection.execute(UNOWNED).fetchall()
        unlisted = [Unlisted(**row) for row in connection.execute(UNLISTED)]
    return Machines([_unowned(row) for row in rows], unlisted)


def request_end(settings: Settings, machine: Unowned) -> bool:
    """Have the provider's worker end it. False for one that is not kept any more. Raises StartError like `look`."""
    with connected(settings) as connection:
        found = connection.execute(REQUEST_END, (machine.provider_queue, machine.provider_instance_id)).fetchone()
    return found is not None


def check_machines(settings: Settings) -> Iterator[Finding]:
    """For the doctor. Nothing where there is no database to ask: others say that."""
    try:
        machines = look(settings)
    except StartError:
        return
    for one in machines.unowned:
        yield Finding(f"machine {one.provider_instance_id}", ok=False, text=one.text, remedy=one.remedy)
    for other in machines.unlisted:
        remedy = "See the log of the worker that serves it"
        yield Finding(f"machines of {other.provider_queue}", ok=False, text=other.text, remedy=remedy)
    if not machines.unowned and not machines.unlisted:
        yield Finding("machines", ok=True, text="none belongs to nobody")


def _unowned(row: dict[str, Any]) -> Unowned:
    price = row["price_eur_per_hour"]
    reason = UnownedReason(row["reason"])
    return Unowned(**{**row, "reason": reason, "price_eur_per_hour": None if price is None else str(price)})


@contextmanager
def connected(settings: Settings) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """As the worker's role, in one transaction. Never says more of a failure than its kind: the text may name the address."""
    try:
        with psycopg.connect(
            database_url(settings, DatabaseRole.WORKER),
            connect_timeout=CONNECT_TIMEOUT_S,
            options=f"-c statement_timeout={STATEMENT_MS}",
            application_name="quarterdeck machines",
            row_factory=dict_row,
        ) as connection:
            yield connection
    except SettingsError as error:
        raise StartError(str(error)) from None
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction):
        raise StartError("the database is not at this version's schema; run `quarterdeck migrate` first") from None
    except psycopg.Error as error:
        raise StartError(f"the database cannot be asked ({type(error).__name__}): see `quarterdeck status`") from None
