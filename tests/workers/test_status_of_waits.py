"""`quarterdeck status` says what operations of everybody wait for, what holds them and which alarms are open."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from models.domain.fleet.waits import FleetWait
from models.domain.words import Language
from models.settings import Settings, load_settings
from tests.factories.any_rows import insert_any
from tests.servers import TestDatabase
from workers.embedded import status
from workers.embedded.errors import StartError
from workers.embedded.ports import free_port
from workers.embedded.waits import SHOWN, WaitingOperation, said_of_health, waits

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
WAITS = "UPDATE operations SET waiting_on = %s, waiting_params = %s, waiting_since = %s WHERE id = %s"
HOLDS = "UPDATE operations SET held_code = %s, held_since = %s WHERE id = %s"


@pytest.fixture
def settings(database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of an installation whose database is this one."""
    monkeypatch.setenv("QUARTERDECK_HOME", str(tmp_path))
    monkeypatch.setenv("QUARTERDECK_DATABASE_URL_WORKER", database.worker)
    monkeypatch.setenv("QUARTERDECK_TEMPORAL_ADDRESS", f"127.0.0.1:{free_port()}")
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    monkeypatch.setenv("QUARTERDECK_INSTALLATION_KEY", key)
    return load_settings()


@pytest.fixture
def sql(database: TestDatabase) -> Iterator[psycopg.Connection]:
    """References are not checked: an operation needs no instance here."""
    with psycopg.connect(database.admin, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        yield connection


def operation(sql: psycopg.Connection, age: timedelta = timedelta()) -> UUID:
    """An open one, of an organization of its own, that waits for nothing yet."""
    organization_id = uuid4()
    insert_any(sql, "operations", organization_id)
    changed = sql.execute(
        "UPDATE operations SET id = %s, created_at = %s, completed_at = NULL WHERE organization_id = %s RETURNING id",
        [uuid4(), NOON - age, organization_id],
    )
    row = changed.fetchone()
    assert row is not None
    return UUID(str(row[0]))


def test_what_operations_of_everybody_wait_for_and_are_held_by(settings: Settings, sql: psycopg.Connection) -> None:
    younger, older, still, done = (operation(sql, timedelta(hours=hours)) for hours in range(4))
    sql.execute(WAITS, [FleetWait.VOLUMES_GONE, json.dumps({"volumes": 2}), NOON, older])
    sql.execute(HOLDS, ["PROVIDER_AUTH", NOON, older])
    sql.execute(HOLDS, ["NO_WORKER", NOON, younger])
    sql.execute(WAITS, [FleetWait.AGENT, None, NOON, done])
    sql.execute("UPDATE operations SET status = 'succeeded', completed_at = now() WHERE id = %s", [done])
    found = waits(settings)
    assert [one.operation_id for one in found.operations] == [older, younger]
    assert still not in {one.operation_id for one in found.operations}
    assert found.operations[0].as_json()["waiting_on"] == {
        "code": "VOLUMES_GONE", "params": {"volumes": 2}, "since": "2026-11-27T12:00:00+00:00",
    }  # fmt: skip
    assert found.operations[0].as_json()["held"] == {"code": "PROVIDER_AUTH", "since": "2026-11-27T12:00:00+00:00"}
    assert (found.operations[1].waiting_on, found.operations[1].as_json()["waiting_on"]) == (None, None)


def test_no_more_are_listed_than_a_person_reads(settings: Settings, sql: psycopg.Connection) -> None:
    for _ in range(SHOWN + 2):
        sql.execute(WAITS, [FleetWait.AGENT, None, None, operation(sql)])
    found = waits(settings)
    assert (len(found.operations), found.total) == (SHOWN, SHOWN + 2)
    assert found.said(Language.EN)[-1] == "and 2 more operations that wait"


def test_a_database_of_before_has_none_to_show(settings: Settings, sql: psycopg.Connection) -> None:
    sql.execute("DROP FUNCTION waiting_operations")
    with pytest.raises(StartError, match="quarterdeck migrate"):
        waits(settings)


WAITING = WaitingOperation(
    UUID(int=7), "instance.terminate", "instance", UUID(int=8), "VOLUMES_GONE", {"volumes": 2}, NOON, "PROVIDER_AUTH", None
)  # fmt: skip


@pytest.mark.parametrize(
    ("language", "line"),
    [
        (
            Language.EN,
            (
                f"Operation {UUID(int=7)} (instance.terminate) waits for volumes to go, of which 2 still exist at the provider, since "
                "2026-11-27 12:00 UTC, held: the provider refuses the credentials (PROVIDER_AUTH)"
            ),
        ),
        (
            Language.FR,
            (
                f"Opération {UUID(int=7)} (instance.terminate) attend que les volumes disparaissent, 2 existent encore chez le "
                "fournisseur, depuis 2026-11-27 12:00 UTC, retenue : le fournisseur refuse les identifiants (PROVIDER_AUTH)"
            ),
        ),
    ],
)
def test_it_is_said_in_the_language_of_the_person(language: Language, line: str) -> None:
    assert WAITING.said(language) == line


def test_alarms_and_reasons_are_said_once() -> None:
    alarms = {"TERMINATION_PENDING": 2, "OF_A_NEWER_VERSION": 1}
    assert said_of_health(alarms, ["TERMINATION_PENDING", "METERING_UNAVAILABLE"], Language.FR) == [
        "Alerte : OF_A_NEWER_VERSION, en cours : 1",
        "Alerte : la disparition de la machine n'est pas encore prouvée (TERMINATION_PENDING), en cours : 2",
        (
            "Dégradé : les requêtes aux modèles ne peuvent pas être enregistrées sur le disque, et sont refusées jusque-là "
            "(METERING_UNAVAILABLE)"
        ),
    ]


def test_status_shows_them(
    settings: Settings,
    sql: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    part: dict[str, object] = {
        "name": "api", "state": "ready", "health": "ok", "stuck_messages": None, "reasons": [], "alarms": {"HEAL_EXHAUSTED": 1},
    }  # fmt: skip
    nothing = dict.fromkeys(("pid", "uptime_s", "restarts", "port", "url"))
    monkeypatch.setattr(status, "is_locked", lambda _home: True)
    monkeypatch.setattr(status, "recorded_parts", lambda _home: [{}])
    monkeypatch.setattr(status, "_look_at", lambda _part: part | nothing)
    waiting = operation(sql)
    sql.execute(WAITS, [FleetWait.AGENT_REGISTERS, None, None, waiting])
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
    assert status.status(settings, as_json=False) == status.RUNNING
    told = capsys.readouterr().out
    assert f"Opération {waiting} (" in told
    assert "attend que l'agent s'enregistre" in told
    assert "Alerte : l'agent reste muet, et le redémarrer n'y a rien changé (HEAL_EXHAUSTED), en cours : 1" in told
    assert status.status(settings, as_json=True) == status.RUNNING
    said = json.loads(capsys.readouterr().out)
    assert [one["waiting_on"]["code"] for one in said["waits"]] == ["AGENT_REGISTERS"]
    assert said["parts"][0]["alarms"] == {"HEAL_EXHAUSTED": 1}
