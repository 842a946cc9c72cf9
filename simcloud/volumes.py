"""Volumes: billed apart from the machine that they came with, and able to outlive it."""

import json
from dataclasses import dataclass
from typing import Any

from simcloud.clock import rfc3339, rfc3339_or_none
from simcloud.database import Database


@dataclass(frozen=True)
class Volume:
    id: str
    name: str
    zone: str
    volume_type: str
    size_gb: int
    is_boot: bool
    delete_on_terminate: bool
    made_for: str
    attached_to: str | None
    tags: list[str]
    price_eur_per_hour: str
    created_at: float
    billed_until: float | None = None
    seq: int = 0

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "zone": self.zone,
            "volume_type": self.volume_type,
            "size_gb": self.size_gb,
            "is_boot": self.is_boot,
            "delete_on_terminate": self.delete_on_terminate,
            "attached_to": self.attached_to,
            "tags": self.tags,
            "price_eur_per_hour": self.price_eur_per_hour,
            "created_at": rfc3339(self.created_at),
            "billed_from": rfc3339(self.created_at),
            "billed_until": rfc3339_or_none(self.billed_until),
        }


class Volumes:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, volume: Volume) -> None:
        self._database.run(
            "INSERT INTO volumes (id, name, zone, volume_type, size_gb, is_boot, delete_on_terminate, made_for, attached_to,"
            " tags, price_eur_per_hour, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            volume.id, volume.name, volume.zone, volume.volume_type, volume.size_gb, volume.is_boot,
            volume.delete_on_terminate, volume.made_for, volume.attached_to, json.dumps(volume.tags),
            volume.price_eur_per_hour, volume.created_at,
        )  # fmt: skip

    def get(self, volume_id: str) -> Volume | None:
        """The volume, ended or not."""
        row = self._database.row("SELECT * FROM volumes WHERE id = ?", volume_id)
        return None if row is None else _volume(row)

    def existing(self, tags: list[str], zone: str | None, after_seq: int, limit: int) -> list[Volume]:
        where = "billed_until IS NULL AND seq > ?"
        parameters: list[object] = [after_seq]
        if zone is not None:
            where += " AND zone = ?"
            parameters.append(zone)
        for tag in tags:
            where += " AND EXISTS (SELECT 1 FROM json_each(volumes.tags) WHERE value = ?)"
            parameters.append(tag)
        sql = f"SELECT * FROM volumes WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608 - fixed texts only
        return [_volume(row) for row in self._database.rows(sql, *parameters, limit)]

    def ever(self, tag: str | None) -> list[Volume]:
        found = [_volume(row) for row in self._database.rows("SELECT * FROM volumes ORDER BY seq")]
        return [volume for volume in found if tag is None or tag in volume.tags]

    def end(self, volume_id: str, now: float) -> None:
        self._database.run(
            "UPDATE volumes SET billed_until = ?, attached_to = NULL WHERE id = ? AND billed_until IS NULL",
            now,
            volume_id,
        )

    def detach(self, machine_id: str) -> None:
        """Volumes of this machine will be left behind when it goes, whatever was agreed and still is shown."""
        self._database.run("UPDATE volumes SET attached_to = NULL WHERE attached_to = ?", machine_id)

    def machine_gone(self, machine_id: str, now: float) -> None:
        """Those that go with the machine end now; the others stay, detached and billed."""
        self._database.run(
            "UPDATE volumes SET billed_until = ? WHERE attached_to = ? AND delete_on_terminate AND billed_until IS NULL",
            now, machine_id,
        )  # fmt: skip
        self.detach(machine_id)


def _volume(row: dict[str, Any]) -> Volume:
    row["tags"] = json.loads(row["tags"])
    row["is_boot"] = bool(row["is_boot"])
    row["delete_on_terminate"] = bool(row["delete_on_terminate"])
    return Volume(**row)
