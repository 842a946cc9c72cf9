"""`quarterdeck machines`, and what `doctor` says of the same: machines that belong to nobody, and the word to end one."""

from __future__ import annotations

import base64
import io
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from models.settings import load_settings
from tests.servers import TestDatabase
from workers.__main__ import main
from workers.embedded.fleet.unowned import check_machines
from workers.embedded.ports import free_port
from workers.fleet import machines

INSERT = """
INSERT INTO unowned_machines (provider_queue, provider_instance_id, reason, zone, instance_type, name, created_at, found_at)
VALUES (%s, %s, %s, 'local', 'sim-l4-1-24g', 'm', '2026-11-26 12:00Z', now())
"""
FAILING = "INSERT INTO machine_listings VALUES ('cloud-mock', NULL, 0, %s, '2026-11-26 12:00Z', 'PROVIDER_AUTH')"


@pytest.fixture
def sql(
    database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """Into the database that the settings name. No Temporal answers."""
    monkeypatch.setenv("QUARTERDECK_HOME", str(tmp_path))
    monkeypatch.setenv("QUARTERDECK_DATABASE_URL_WORKER", database.worker)
    monkeypatch.setenv("QUARTERDECK_TEMPORAL_ADDRESS", f"127.0.0.1:{free_port()}")
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    monkeypatch.setenv("QUARTERDECK_INSTALLATION_KEY", key)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with psycopg.connect(database.admin, autocommit=True, row_factory=dict_row) as connection:
        yield connection


def asked_to_end(sql: psycopg.Connection[dict[str, Any]]) -> list[tuple[str, str]]:
    rows = sql.execute("SELECT * FROM unowned_machines WHERE end_requested_at IS NOT NULL").fetchall()
    return [(row["provider_queue"], row["provider_instance_id"]) for row in rows]


def test_where_every_machine_has_an_owner_it_says_so(
    sql: psycopg.Connection[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["machines"]) == 0
    assert capsys.readouterr().out == "No machine belongs to nobody.\n"
    assert main(["machines", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"unowned": [], "unlisted": []}
    assert [(one.ok, one.text) for one in check_machines(load_settings())] == [(True, "none belongs to nobody")]


def test_each_is_named_with_why_and_what_to_do(
    sql: psycopg.Connection[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, reason in (("m-1", "no_row"), ("m-2", "row_finished"), ("m-3", "surplus")):
        sql.execute(INSERT, ("cloud-mock", name, reason))
    assert main(["machines", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)["unowned"]
    assert [(one["provider_instance_id"], one["reason"]) for one in told] == [
        ("m-1", "no_row"), ("m-2", "row_finished"), ("m-3", "surplus"),
    ]  # fmt: skip
    assert main(["machines"]) == 1
    assert all(name in capsys.readouterr().out for name in ("m-1",))
    findings = list(check_machines(load_settings()))
    assert [(one.check, one.ok) for one in findings] == [(f"machine m-{number}", False) for number in (1, 2, 3)]
    assert "since 2026-11-26 12:00 UTC: no instance is known that it could belong to" in findings[0].text
    assert findings[0].remedy.startswith("`quarterdeck machines end m-1` ends it")


def test_a_provider_without_a_list_is_named_once_that_is_no_hiccup(
    sql: psycopg.Connection[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    sql.execute(FAILING, (1,))
    assert main(["machines"]) == 0
    sql.execute("UPDATE machine_listings SET failures = 2")
    capsys.readouterr()
    assert main(["machines"]) == 1
    assert "cloud-mock cannot be listed since 2026-11-26 12:00 UTC (PROVIDER_AUTH)" in capsys.readouterr().out
    [finding] = check_machines(load_settings())
    assert (finding.check, finding.ok) == ("machines of cloud-mock", False)


def test_one_is_ended_by_who_is_sure(
    sql: psycopg.Connection[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    sql.execute(INSERT, ("cloud-mock", "m-1", "no_row"))
    sql.execute(INSERT, ("cloud-mock", "m-2", "no_row"))
    assert main(["machines", "end", "m-1"]) == 2
    assert "add --yes" in capsys.readouterr().err
    assert main(["machines", "end", "m-9", "--yes"]) == 2
    assert "m-9 is no machine that belongs to nobody" in capsys.readouterr().err
    assert asked_to_end(sql) == []
    assert main(["machines", "end", "m-1", "--yes"]) == 0
    assert "beginning within two minutes" in capsys.readouterr().out, (
        "Temporal is not asked for anything that has to be"
    )
    assert asked_to_end(sql) == [("cloud-mock", "m-1")]
    assert "is being ended" in next(iter(check_machines(load_settings()))).text


@pytest.mark.parametrize(("answer", "exits"), [("y\n", 0), ("\n", 2), ("no\n", 2)])
def test_at_a_terminal_it_asks(
    sql: psycopg.Connection[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, answer: str, exits: int
) -> None:
    sql.execute(INSERT, ("cloud-mock", "m-1", "no_row"))
    terminal = io.StringIO(answer)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    assert main(["machines", "end", "m-1"]) == exits
    assert asked_to_end(sql) == ([("cloud-mock", "m-1")] if exits == 0 else [])


def test_the_same_id_at_two_providers_has_to_be_told_apart(
    sql: psycopg.Connection[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    for queue in ("cloud-a", "cloud-b"):
        sql.execute(INSERT, (queue, "m-1", "no_row"))
    assert main(["machines", "end", "m-1", "--yes"]) == 2
    assert "--provider" in capsys.readouterr().err
    assert main(["machines", "end", "m-1", "--provider", "cloud-b", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "provider_instance_id": "m-1", "provider": "cloud-b", "begins": machines.LATER,
    }  # fmt: skip
    assert asked_to_end(sql) == [("cloud-b", "m-1")]


def test_a_database_that_cannot_be_asked_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUARTERDECK_HOME", str(tmp_path))
    assert main(["machines"]) == 2
    assert "there is no embedded server" in capsys.readouterr().err
    monkeypatch.setenv("QUARTERDECK_DATABASE_URL_WORKER", f"postgresql://u:secret@127.0.0.1:{free_port()}/x")
    assert main(["machines", "--json"]) == 2
    said = capsys.readouterr().err
    assert "the database cannot be asked" in json.loads(said)["error"]
    assert "secret" not in said
    assert list(check_machines(load_settings())) == [], "others say that the database is away"
