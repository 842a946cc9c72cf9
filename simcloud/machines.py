"""Machines as rows: what is stored of each, and how they are found. No rule about when they change lives here."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from simcloud.clock import rfc3339, rfc3339_or_none
from simcloud.database import Database


class Status(StrEnum):
    BUILD = "BUILD"
    ACTIVE = "ACTIVE"
    REBUILD = "REBUILD"
    SHUTOFF = "SHUTOFF"  # stopped out of band: exists and is billed, its agent does not run
    ERROR = "ERROR"
    DELETING = "DELETING"
    PREEMPTED = "PREEMPTED"  # taken back: no longer billed, shown for a moment, then gone
    DELETED = "DELETED"  # in the ledger only


@dataclass
class Machine:
    id: str
    name: str
    zone: str
    type: str
    status: Status
    tags: list[str]
    user_data: str
    price_eur_per_hour: str
    created_at: float
    visible_at: float
    seq: int = 0
    error: str | None = None
    billed_from: float | None = None
    billed_until: float | None = None
    ended_at: float | None = None
    end_reason: str | None = None
    next_status: Status | None = None
    next_at: float | None = None
    preempt_after_s: float | None = None
    agent_delay_s: float = 0.0

    def shown(self, address: tuple[str, int] | None) -> dict[str, Any]:
        """What the API answers about it. User data is never shown again: it holds its owner's secrets."""
        return {
            "id": self.id,
            "name": self.name,
            "zone": self.zone,
            "type": self.type,
            "status": self.status.value,
            "tags": self.tags,
            "error": self.error,
            "created_at": rfc3339(self.created_at),
            "billed_from": rfc3339_or_none(self.billed_from),
            "billed_until": rfc3339_or_none(self.billed_until),
            "price_eur_per_hour": self.price_eur_per_hour,
            "address": {"host": address[0], "port": address[1]} if address and self.status is Status.ACTIVE else None,
        }


STORED = (
    "id", "name", "zone", "type", "status", "error", "tags", "user_data", "price_eur_per_hour", "created_at", "visible_at",
    "billed_from", "billed_until", "ended_at", "end_reason", "next_status", "next_at", "preempt_after_s", "agent_delay_s",
)  # fmt: skip
INSERT = f"INSERT INTO machines ({', '.join(STORED)}) VALUES ({', '.join('?' * len(STORED))})"  # noqa: S608 - constants
UPDATE = f"UPDATE machines SET {', '.join(f'{column} = ?' for column in STORED)} WHERE seq = ?"  # noqa: S608 - constants


class Machines:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, machine: Machine) -> None:
        machine.seq = self._database.run(INSERT, *_values(machine))
        self._index(machine)

    def save(self, machine: Machine) -> None:
        self._database.run(UPDATE, *_values(machine), machine.seq)

    def retag(self, machine: Machine, tags: list[str]) -> None:
        machine.tags = tags
        self._database.run("DELETE FROM machine_tags WHERE machine_seq = ?", machine.seq)
        self._index(machine)
        self.save(machine)

    def get(self, machine_id: str) -> Machine | None:
        """The machine, ended or not."""
        row = self._database.row("SELECT * FROM machines WHERE id = ?", machine_id)
        return None if row is None else _machine(row)

    def due(self, now: float) -> list[Machine]:
        rows = self._database.rows("SELECT * FROM machines WHERE next_at <= ? ORDER BY next_at LIMIT 500", now)
        return [_machine(row) for row in rows]

    def in_status(self, status: Status) -> list[Machine]:
        rows = self._database.rows("SELECT * FROM machines WHERE status = ? AND ended_at IS NULL", status.value)
        return [_machine(row) for row in rows]

    def page(self, tags: list[str], zone: str | None, now: float, after_seq: int, limit: int) -> list[Machine]:
        """Existing machines that carry every tag and are visible by now, oldest first."""
        where = "ended_at IS NULL AND visible_at <= ? AND seq > ?"
        parameters: list[object] = [now, after_seq]
        if zone is not None:
            where += " AND zone = ?"
            parameters.append(zone)
        for tag in tags:
            where += " AND seq IN (SELECT machine_seq FROM machine_tags WHERE tag = ?)"
            parameters.append(tag)
        sql = f"SELECT * FROM machines WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608 - fixed texts only
        return [_machine(row) for row in self._database.rows(sql, *parameters, limit)]

    def ever(self, tag: str | None) -> list[Machine]:
        """All machines ever made, or those that carry the tag, oldest first."""
        if tag is None:
            return [_machine(row) for row in self._database.rows("SELECT * FROM machines ORDER BY seq")]
        sql = "SELECT m.* FROM machine_tags t JOIN machines m ON m.seq = t.machine_seq WHERE t.tag = ? ORDER BY m.seq"
        return [_machine(row) for row in self._database.rows(sql, tag)]

    def _index(self, machine: Machine) -> None:
        rows = [(tag, machine.seq) for tag in dict.fromkeys(machine.tags)]
        self._database.run_many("INSERT INTO machine_tags (tag, machine_seq) VALUES (?, ?)", rows)


def _values(machine: Machine) -> list[object]:
    return [json.dumps(machine.tags) if column == "tags" else getattr(machine, column) for column in STORED]


def _machine(row: dict[str, Any]) -> Machine:
    row["tags"] = json.loads(row["tags"])
    row["status"] = Status(row["status"])
    row["next_status"] = Status(row["next_status"]) if row["next_status"] else None
    return Machine(**row)
