"""The first start: it happens once, its credentials survive a kill at any moment, and an operator's changes stay."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from models.domain.identity.passwords import verify_password
from models.domain.keys import fingerprint
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase
from workers import admin_file, bootstrap

KEY = "vM3qkZ0oU5xJt1yWc8Rr2bA7nE4sDfGhIjKlPpQqTtU"


@pytest.fixture
def home(tmp_path: Path, database: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUARTERDECK_HOME", str(tmp_path))
    monkeypatch.setenv("QUARTERDECK_DATABASE_URL", database.migrator)
    monkeypatch.setenv("QUARTERDECK_INSTALLATION_KEY", KEY)
    return tmp_path


def run(home: Path) -> int:
    return bootstrap.main(["--admin-file", str(home / "admin.json"), "--show-credentials"])


def rows(database: TestDatabase, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.owner) as connection:
        return connection.execute(query).fetchall()


def everything(database: TestDatabase) -> list[Any]:
    tables = "installation providers regions zones instance_types instance_type_zones models action_types settings_definitions"
    identity = " users organizations memberships api_keys"
    return [sorted(map(str, rows(database, f"SELECT * FROM {table}"))) for table in (tables + identity).split()]  # noqa: S608


def test_the_first_start_makes_an_administrator_who_can_sign_in(
    home: Path, database: TestDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(home) == 0
    path = home / "admin.json"
    credentials = json.loads(path.read_text())
    assert set(credentials) == {"email", "password", "api_key", "api_url", "temporal_ui_url"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert credentials["email"] == "admin@quarterdeck.local"
    assert len(credentials["password"]) >= 24
    assert credentials["api_key"].startswith("sk-qd-")
    shown = capsys.readouterr().out
    assert all(value in shown for value in credentials.values())

    [(user_id, email, password_hash, superadmin)] = rows(
        database, "SELECT id, email, password_hash, is_superadmin FROM users"
    )
    assert (email, superadmin) == ("admin@quarterdeck.local", True)
    assert verify_password(password_hash, credentials["password"])
    [(key_hash, prefix, slug)] = rows(
        database,
        "SELECT k.key_hash, k.key_prefix, o.slug FROM api_keys k JOIN organizations o ON o.id = k.organization_id",
    )
    assert (key_hash, prefix, slug) == (fingerprint(credentials["api_key"]), credentials["api_key"][:12], "quarterdeck")
    owned = rows(
        database,
        "SELECT o.name, o.is_personal, m.role, m.user_id FROM memberships m JOIN organizations o ON o.id = m.organization_id "
        "ORDER BY o.is_personal",
    )
    assert owned == [("Quarterdeck", False, "owner", user_id), ("Personal", True, "owner", user_id)]
    assert len(rows(database, "SELECT id FROM installation")) == 1


def test_where_output_is_kept_only_the_place_of_the_secrets_is_told(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bootstrap.main(["--admin-file", str(home / "admin.json")]) == 0
    credentials = json.loads((home / "admin.json").read_text())
    shown = capsys.readouterr().out
    assert str(home / "admin.json") in shown
    assert credentials["email"] in shown
    assert credentials["password"] not in shown
    assert credentials["api_key"] not in shown


def test_a_web_ui_that_nobody_named_is_null(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUARTERDECK_TEMPORAL_ADDRESS", "temporal.example:7233")
    assert run(home) == 0
    assert json.loads((home / "admin.json").read_text())["temporal_ui_url"] is None
    assert "not set (QUARTERDECK_TEMPORAL_UI_URL)" in capsys.readouterr().out
    file = (home / "admin.json").read_bytes()
    assert run(home) == 0
    assert (home / "admin.json").read_bytes() == file
    monkeypatch.setenv("QUARTERDECK_TEMPORAL_UI_URL", "https://temporal.example")
    assert run(home) == 0
    assert json.loads((home / "admin.json").read_text())["temporal_ui_url"] == "https://temporal.example"


def test_no_secret_is_stored_in_clear(home: Path, database: TestDatabase) -> None:
    run(home)
    credentials = json.loads((home / "admin.json").read_text())
    content = str(everything(database))
    assert credentials["password"] not in content
    assert credentials["api_key"] not in content


def test_a_second_run_changes_and_says_nothing(
    home: Path, database: TestDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    run(home)
    before, file = everything(database), (home / "admin.json").read_bytes()
    capsys.readouterr()
    assert run(home) == 0
    assert capsys.readouterr() == ("", "")
    assert everything(database) == before
    assert (home / "admin.json").read_bytes() == file
    assert [entry.name for entry in home.iterdir()] == ["admin.json"]


def test_killed_before_the_commit(home: Path, database: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    async def die(*_arguments: object, **_options: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("workers.bootstrap.founding.found", die)
        with pytest.raises(Killed):
            run(home)
    assert rows(database, "SELECT * FROM users") == []
    intended = json.loads((home / "admin.json.pending").read_text())
    assert run(home) == 0
    assert json.loads((home / "admin.json").read_text()) == intended
    assert not (home / "admin.json.pending").exists()


def test_killed_between_commit_and_file(
    home: Path, database: TestDatabase, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Killed(BaseException):
        pass

    def die(_self: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(admin_file.AdminFile, "publish", die)
        with pytest.raises(Killed):
            run(home)
    assert len(rows(database, "SELECT * FROM users")) == 1
    assert not (home / "admin.json").exists()
    assert run(home) == 0
    credentials = json.loads((home / "admin.json").read_text())
    [(password_hash,)] = rows(database, "SELECT password_hash FROM users")
    assert verify_password(password_hash, credentials["password"])
    assert credentials["password"] in capsys.readouterr().out


def test_a_torn_pending_file_is_replaced(home: Path) -> None:
    (home / "admin.json.pending").write_text('{"email": "adm')
    assert run(home) == 0
    assert json.loads((home / "admin.json").read_text())["email"] == "admin@quarterdeck.local"


def test_an_unwritable_file_commits_nothing(
    home: Path, database: TestDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "file").touch()
    assert bootstrap.main(["--admin-file", str(home / "file" / "admin.json")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert rows(database, "SELECT * FROM users") == []


def test_two_starts_together_make_one_administrator(home: Path, database: TestDatabase) -> None:
    start = "import sys; from workers.bootstrap import main; sys.exit(main(sys.argv[1:]))"
    children = [
        subprocess.Popen([sys.executable, "-c", start, "--admin-file", str(home / str(number) / "admin.json")])
        for number in range(3)
    ]
    assert [child.wait(timeout=GIVE_UP_S) for child in children] == [0, 0, 0]
    assert len(rows(database, "SELECT * FROM users")) == 1
    files = list(home.glob("*/admin.json*"))
    assert [file.name for file in files] == ["admin.json"]
    [(password_hash,)] = rows(database, "SELECT password_hash FROM users")
    assert verify_password(password_hash, json.loads(files[0].read_text())["password"])


def test_a_lost_database_is_founded_with_the_credentials_the_operator_has(
    home: Path, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {
        "email": "me@example.org", "password": "p" * 30, "api_key": "sk-qd-" + "a" * 64,
        "api_url": "http://127.0.0.1:1", "temporal_ui_url": "http://127.0.0.1:2",
    }  # fmt: skip
    (home / "admin.json").write_text(json.dumps(kept))
    (home / "admin.json").chmod(0o600)
    monkeypatch.setenv("QUARTERDECK_API_PORT", "8123")
    assert run(home) == 0
    assert json.loads((home / "admin.json").read_text()) == kept | {
        "api_url": "http://127.0.0.1:8123",
        "temporal_ui_url": "http://127.0.0.1:8233",
    }
    [(email, password_hash)] = rows(database, "SELECT email, password_hash FROM users")
    assert email == "me@example.org"
    assert verify_password(password_hash, "p" * 30)


def test_nobody_is_promoted_by_bearing_the_name(home: Path, database: TestDatabase) -> None:
    with psycopg.connect(database.owner) as connection:
        connection.execute(
            "INSERT INTO users (id, username, email, is_superadmin) VALUES (uuidv7(), 'admin', 'x@example.org', false)"
        )
    assert run(home) == 1
    assert rows(database, "SELECT is_superadmin FROM users") == [(False,)]
    assert not (home / "admin.json").exists()


def test_seeds_leave_an_operators_changes_alone(home: Path, database: TestDatabase) -> None:
    run(home)
    with psycopg.connect(database.owner) as connection:
        connection.execute("UPDATE instance_types SET price_eur_per_hour = 9 WHERE code = 'sim-l4-1-24g'")
        connection.execute("UPDATE providers SET is_active = false, has_adapter = false WHERE code = 'mock'")
        connection.execute(
            "DELETE FROM instance_type_zones WHERE zone_id IN (SELECT id FROM zones WHERE code = 'sim-b')"
        )
        connection.execute("DELETE FROM models WHERE code = 'gemma-2-9b-it'")
    assert run(home) == 0
    assert rows(database, "SELECT price_eur_per_hour FROM instance_types WHERE code = 'sim-l4-1-24g'") == [(9,)]
    assert rows(database, "SELECT is_active, has_adapter FROM providers WHERE code = 'mock'") == [(False, True)]
    assert (
        rows(database, "SELECT 1 FROM instance_type_zones JOIN zones z ON z.id = zone_id WHERE z.code = 'sim-b'") == []
    )
    assert len(rows(database, "SELECT 1 FROM models WHERE code = 'gemma-2-9b-it'")) == 1


def test_a_database_of_another_version_is_refused(
    home: Path, database: TestDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(database.owner) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    assert run(home) == 2
    assert "migrate" in capsys.readouterr().err
    assert not (home / "admin.json.pending").exists()


def test_what_it_makes_it_makes_as_the_owner_role(home: Path, database: TestDatabase) -> None:
    """Whoever logs in for it may do nothing by itself."""
    with psycopg.connect(database.migrator) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT * FROM users")
    assert run(home) == 0
