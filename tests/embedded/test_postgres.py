"""The embedded PostgreSQL server: first start, crashes, stale files, conflicts, accounts."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from models.base.ids import new_id
from models.domain.keys import Purpose, decode_installation_key, derive_text
from models.migrations import current_revision, head_revision, upgrade
from models.settings import Settings
from models.settings.derived import (
    EMBEDDED_SUPERUSER,
    OWNER_ROLE,
    DatabaseRole,
    as_owner,
    database_password,
    database_url,
)
from tests.embedded.driver import forget
from tests.needs import need
from tests.patience import GIVE_UP_S
from tests.servers import running
from workers.embedded import postgres, postgres_program, processes
from workers.embedded.errors import StartError
from workers.embedded.home import write_private
from workers.embedded.intact_check import check_program
from workers.embedded.postgres import PostgresServer
from workers.migrate import migrate

KEY = "Zm9yIHRlc3RzIG9ubHk6IDMyIGJ5dGVzIG9mIGtleSE"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    forget(tmp_path)


def start(server: PostgresServer, home: Path) -> subprocess.Popen[bytes]:
    server.before_start()
    spec = server.process(home / "postgres.log")
    process = processes.spawn(spec)
    processes.wait_until_ready(process, spec, server.is_ready, 20)
    return process


def test_a_prepared_server_is_private_and_checks_its_pages(home: Path) -> None:
    server = postgres.prepare(home)
    assert stat.S_IMODE((home / "postgres.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    assert server.password not in repr(server)
    server.before_start()
    with (
        running(server.process(home / "postgres.log"), server.is_ready),
        psycopg.connect(server.url("postgres")) as connection,
    ):
        shown = {
            name: connection.execute(f"SHOW {name}").fetchone()
            for name in ("data_checksums", "fsync", "full_page_writes")
        }
        rules = connection.execute("SELECT DISTINCT auth_method, address FROM pg_hba_file_rules").fetchall()
        sockets = connection.execute("SHOW unix_socket_directories").fetchone()
    assert set(shown.values()) == {("on",)}
    assert rules == [("scram-sha-256", "127.0.0.1")]
    assert sockets == ("",)


def test_statements_and_their_values_stay_out_of_the_log(home: Path) -> None:
    server = postgres.prepare(home)
    server.before_start()
    with (
        running(server.process(home / "postgres.log"), server.is_ready),
        psycopg.connect(server.url("postgres")) as connection,
    ):
        connection.execute("CREATE TEMPORARY TABLE one (n text UNIQUE)")
        connection.execute("INSERT INTO one VALUES ('planted-secret')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO one VALUES ('planted-secret')")
    log = (home / "postgres.log").read_text()
    assert "duplicate key" in log
    assert "planted-secret" not in log


def test_the_second_start_keeps_data_password_and_port(home: Path) -> None:
    first = postgres.prepare(home)
    process = start(first, home)
    with psycopg.connect(first.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE kept")
    processes.stop(process, first.process(home / "postgres.log"))
    second = postgres.prepare(home)
    assert second == first
    second.before_start()
    with running(second.process(home / "postgres.log"), second.is_ready), psycopg.connect(second.url("kept")):
        pass


def test_a_taken_port_is_given_up_for_another(home: Path) -> None:
    first = postgres.prepare(home)
    with socket.create_server(("127.0.0.1", first.port)):
        second = postgres.prepare(home)
    assert second.port != first.port
    assert postgres.prepare(home).port == second.port


def test_a_pid_file_that_names_somebody_else_does_not_stop_it(home: Path) -> None:
    server = postgres.prepare(home)
    process = start(server, home)
    process.send_signal(signal.SIGKILL)
    process.wait()
    pid_file = server.folder / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n" + pid_file.read_text().split("\n", 1)[1])
    again = start(postgres.prepare(home), home)
    processes.stop(again, server.process(home / "postgres.log"))


def test_a_server_that_nobody_supervises_is_ended_before_its_directory_is_used_again(home: Path) -> None:
    server = postgres.prepare(home)
    abandoned = start(server, home)
    again = start(postgres.prepare(home), home)
    assert abandoned.wait(GIVE_UP_S) == 0
    processes.stop(again, server.process(home / "postgres.log"))


def as_before_the_database_was_complete(home: Path) -> None:
    path = home / "postgres.json"
    write_private(path, json.dumps({**json.loads(path.read_text()), "initialised": False}))


def test_a_first_start_that_was_killed_half_way_begins_anew(home: Path) -> None:
    server = postgres.prepare(home)
    as_before_the_database_was_complete(home)
    (server.folder / "data").rename(server.folder / "data.partial")
    (server.folder / "data.partial" / "PG_VERSION").unlink()
    process = start(postgres.prepare(home), home)
    processes.stop(process, server.process(home / "postgres.log"))


def test_a_first_start_that_was_killed_at_its_last_line_goes_on_with_its_password(home: Path) -> None:
    server = postgres.prepare(home)
    as_before_the_database_was_complete(home)
    again = postgres.prepare(home)
    assert again == server
    process = start(again, home)
    processes.stop(process, server.process(home / "postgres.log"))


def test_a_record_that_cannot_be_read_is_one_clear_line(home: Path) -> None:
    record = home / "postgres.json"
    record.write_text("{")
    with pytest.raises(StartError, match=r"postgres\.json is open to others"):
        postgres.prepare(home)
    record.chmod(0o600)
    with pytest.raises(StartError, match=r"postgres\.json cannot be read"):
        postgres.prepare(home)
    record.unlink()


def test_data_without_its_password_is_left_alone_and_no_other_is_made(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    with pytest.raises(StartError, match=r"postgres\.json is missing"):
        postgres.prepare(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["data", "postgres"]


def test_root_below_a_closed_folder_keeps_the_data_elsewhere(home: Path) -> None:
    need(present=os.geteuid() == 0, what="root", install="run the tests as root")
    home.chmod(0o700)
    server = postgres.prepare(home)
    assert server.account is not None
    assert server.account.can_reach(server.folder / "data")
    assert not server.folder.is_relative_to(home)


def closed_to_others(folder: Path) -> None:
    """As it is where it was installed under umask 077."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o077)


def test_root_runs_a_copy_of_a_program_that_was_installed_for_root_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(present=os.geteuid() == 0, what="root", install="run the tests as root")
    reachable = Path(tempfile.gettempdir()) / f"quarterdeck #1 'ü' 100%25 {new_id()}"
    environment = home / "environment"
    tree = postgres_program.bundled_tree()
    closed = environment / tree.parent.name / tree.name
    for source in (tree, tree.parents[1] / postgres_program.LIBRARIES):
        shutil.copytree(source, environment / source.relative_to(tree.parents[1]), symlinks=True)
    closed_to_others(environment)
    monkeypatch.setattr(postgres_program, "REACHABLE_ROOT", reachable)
    monkeypatch.setattr(postgres_program, "bundled_tree", lambda: closed)
    before = os.umask(0o077)
    try:
        server = postgres.prepare(home)
        assert server.tree.is_relative_to(reachable)
        server.before_start()
        with running(server.process(home / "postgres.log"), server.is_ready):
            server.ensure_database()
        closed_to_others(reachable)  # as earlier versions left it
        [finding] = check_program()
        assert (finding.ok, "the next start mends that" in finding.text) == (True, True)
        os.truncate(server.tree / "bin" / "initdb", 10)
        again = postgres.prepare(home)
        assert (again.tree / "bin" / "initdb").stat().st_size == (closed / "bin" / "initdb").stat().st_size
        with running(again.process(home / "postgres.log"), again.is_ready):
            pass
        assert [finding.ok for finding in check_program()] == [True]
    finally:
        os.umask(before)
        shutil.rmtree(reachable)


def test_migrate_with_a_superuser_makes_roles_that_the_settings_can_use(home: Path) -> None:
    server = postgres.prepare(home)
    server.before_start()
    with running(server.process(home / "postgres.log"), server.is_ready):
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE managed")
        worker_url = f"postgresql://quarterdeck_worker:chosen-by-operator@127.0.0.1:{server.port}/managed"
        settings = Settings(
            home=home, installation_key=KEY, database_url=server.url("managed"), database_url_worker=worker_url
        )
        migrate(settings)
        migrate(settings)
        with psycopg.connect(server.url("managed")) as connection:
            owners = connection.execute(
                "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
        assert owners == [("quarterdeck_owner",)]
        for role in DatabaseRole:
            with psycopg.connect(database_url(settings, role)) as connection:
                assert connection.execute("SELECT current_user").fetchone() == (role.value,)


def test_an_owner_that_could_log_in_cannot_after_migrating(home: Path) -> None:
    """An installation of before: its owner's password followed from the key that every API and worker holds."""
    server = postgres.prepare(home)
    server.before_start()
    with running(server.process(home / "postgres.log"), server.is_ready):
        server.ensure_database()
        key = decode_installation_key(KEY)
        derivable = derive_text(key, Purpose.DATABASE, OWNER_ROLE)
        with psycopg.connect(server.url()) as connection:
            connection.execute(f"CREATE ROLE {OWNER_ROLE} LOGIN PASSWORD '{derivable}'")
            connection.execute("CREATE EXTENSION vector")
            for role in DatabaseRole:
                connection.execute(f"CREATE ROLE {role.value} LOGIN PASSWORD '{database_password(key, role)}'")
            connection.execute(f"ALTER DATABASE quarterdeck OWNER TO {OWNER_ROLE}")
            connection.execute(f"ALTER SCHEMA public OWNER TO {OWNER_ROLE}")
        owners = server.url(user=OWNER_ROLE, password=derivable)
        upgrade(owners, "0010")
        migrate(Settings(home=home, installation_key=KEY))
        held = [derivable, KEY, *(database_password(key, role) for role in DatabaseRole)]
        for password in held:
            for user in (OWNER_ROLE, EMBEDDED_SUPERUSER):
                with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                    psycopg.connect(server.url(user=user, password=password))
        with psycopg.connect(server.url()) as connection:
            row = connection.execute(
                "SELECT rolcanlogin, rolpassword FROM pg_authid WHERE rolname = %s", (OWNER_ROLE,)
            ).fetchone()
            rights = connection.execute(
                "SELECT has_table_privilege('quarterdeck_worker', 'api_keys', 'INSERT')"
            ).fetchone()
        assert row == (False, None)
        assert rights == (False,), "those of before were wider"
        assert current_revision(as_owner(server.url())) == head_revision()


def test_roles_made_by_hand_as_documented_are_enough(home: Path) -> None:
    document = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
    [statements] = [block for block in re.findall(r"```sql\n(.*?)```", document, re.DOTALL) if OWNER_ROLE in block]
    before, in_it = statements.replace("…", "chosen-by-operator").split("\\connect quarterdeck\n")
    server = postgres.prepare(home)
    server.before_start()
    with running(server.process(home / "postgres.log"), server.is_ready):
        for database, part in (("postgres", before), ("quarterdeck", in_it)):
            with psycopg.connect(server.url(database), autocommit=True) as connection:
                for statement in filter(str.strip, part.split(";")):
                    connection.execute(statement)
        migrators = server.url(user="quarterdeck_migrator", password="chosen-by-operator")
        migrate(Settings(home=home, installation_key=KEY, database_url=migrators))
        for role in DatabaseRole:
            with psycopg.connect(server.url(user=role.value, password="chosen-by-operator")) as connection:
                rights = connection.execute(
                    "SELECT has_table_privilege('instances', 'SELECT'), has_table_privilege('users', 'UPDATE'), "
                    "has_database_privilege('quarterdeck', 'TEMP')"
                ).fetchone()
                assert rights == (True, False, False)
