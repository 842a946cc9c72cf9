"""Every inference request that reached a simulated machine, and what came of it: the oracle for anybody's metering.

No text of a request or an answer is kept. Entries are written in batches, several times a second and before each reading;
SIGKILL may lose the last batch, unlike anything the cloud itself has accepted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simcloud.clock import Clock, rfc3339, rfc3339_or_none
from simcloud.database import Database

RUNNING, COMPLETED, CANCELLED, FAILED = "running", "completed", "cancelled", "failed"
COLUMNS = ("id", "machine_id", "path", "model", "is_stream", "request_id", "received_at", "ended_at", "outcome", "status",
           "prompt_tokens", "completion_tokens", "chunks")  # fmt: skip
NEWEST = "SELECT * FROM inference_requests"
TOTALS = (
    "SELECT machine_id, outcome, count(*) AS requests, sum(prompt_tokens) AS prompt_tokens,"
    " sum(completion_tokens) AS completion_tokens FROM inference_requests"
)


@dataclass(slots=True)
class Entry:
    id: int
    machine_id: str
    path: str
    request_id: str | None
    received_at: float
    model: str | None = None
    is_stream: bool = False
    ended_at: float | None = None
    outcome: str = RUNNING
    status: int | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0  # of what was sent, not of what would have been
    chunks: int = 0


class InferenceLedger:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._dirty: dict[int, Entry] = {}
        database.run("UPDATE inference_requests SET outcome = ? WHERE outcome = ?", FAILED, RUNNING)
        row = database.row("SELECT max(id) AS last FROM inference_requests")
        self._last_id = (row["last"] or 0) if row else 0

    def open(self, machine_id: str, path: str, request_id: str | None) -> Entry:
        self._last_id += 1
        entry = Entry(self._last_id, machine_id, path, request_id, self._clock.now())
        self._dirty[entry.id] = entry
        return entry

    def close(self, entry: Entry, outcome: str, status: int | None = None) -> None:
        entry.outcome, entry.status, entry.ended_at = outcome, status, self._clock.now()
        self._dirty[entry.id] = entry

    def flush(self) -> None:
        if not self._dirty:
            return
        places = ", ".join("?" * len(COLUMNS))
        rows = [tuple(getattr(entry, column) for column in COLUMNS) for entry in self._dirty.values()]
        with self._database.transaction():
            self._database.run_many(f"INSERT OR REPLACE INTO inference_requests VALUES ({places})", rows)  # noqa: S608
        self._dirty.clear()

    def clear(self) -> None:
        self._dirty.clear()

    def shown(self, machine_id: str | None, limit: int) -> dict[str, Any]:
        """The newest `limit` entries, oldest first, and totals over all."""
        self.flush()
        where, parameters = ("WHERE machine_id = ?", (machine_id,)) if machine_id else ("", ())
        newest = self._database.rows(f"{NEWEST} {where} ORDER BY id DESC LIMIT ?", *parameters, limit)
        totals = self._database.rows(f"{TOTALS} {where} GROUP BY machine_id, outcome", *parameters)
        return {
            "requests": [_shown(row) for row in reversed(newest)],
            "totals": _sum(totals),
            "machines": {
                machine: _sum([row for row in totals if row["machine_id"] == machine])
                for machine in sorted({row["machine_id"] for row in totals})
            },
        }


def _sum(rows: list[dict[str, Any]]) -> dict[str, int]:
    totals = dict.fromkeys(("requests", RUNNING, COMPLETED, CANCELLED, FAILED, "prompt_tokens", "completion_tokens"), 0)
    for row in rows:
        totals[row["outcome"]] += row["requests"]
        for name in ("requests", "prompt_tokens", "completion_tokens"):
            totals[name] += row[name]
    return totals


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return dict(row) | {
        "is_stream": bool(row["is_stream"]),
        "received_at": rfc3339(row["received_at"]),
        "ended_at": rfc3339_or_none(row["ended_at"]),
    }
