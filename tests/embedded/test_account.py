"""Root's PostgreSQL has a user of its own, which nothing else is, and takes over what belonged to `nobody`."""

import errno
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from models.base.ids import new_id
from tests.embedded.driver import SOMEBODY_ELSE, forget
from tests.needs import need
from tests.servers import running
from workers.embedded import account, postgres, processes
from workers.embedded.account import OWN_USER, Account, account_for_postgres
from workers.embedded.errors import StartError
from workers.embedded.postgres import PostgresServer
from workers.embedded.postgres_files import adopt


@pytest.fixture(autouse=True)
def _root() -> None:
    need(present=os.geteuid() == 0, what="root", install="run the tests as root")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    forget(tmp_path)


@pytest.fixture
def new_name(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of a user that does not exist yet, and will not any more."""
    name = f"quarterdeck-test-{new_id().hex[-8:]}"
    monkeypatch.setattr(account, "OWN_USER", name)
    yield name
    subprocess.run(["userdel", name], capture_output=True, check=False)


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in (folder, *folder.rglob("*"))}


def given_to(uid: int, folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)


def as_nobody(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/usr/bin/env", "sh", "-c", code], user=SOMEBODY_ELSE, group=SOMEBODY_ELSE, extra_groups=[], cwd="/",
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_data_and_server_belong_to_a_user_of_their_own(home: Path) -> None:
    server = postgres.prepare(home)
    entry = pwd.getpwnam(OWN_USER)
    assert [other.pw_name for other in pwd.getpwall() if other.pw_uid == entry.pw_uid] == [OWN_USER]
    assert Path(entry.pw_shell).name == "nologin"
    assert owners(server.folder) == {entry.pw_uid}
    server.before_start()
    spec = server.process(home / "postgres.log")
    process = processes.spawn(spec)
    try:
        processes.wait_until_ready(process, spec, server.is_ready, 20)
        assert psutil.Process(process.pid).uids().real == entry.pw_uid
    finally:
        processes.stop(process, spec)


def test_what_else_runs_as_nobody_can_neither_read_nor_change_it(home: Path) -> None:
    server = postgres.prepare(home)
    data = server.folder / "data"
    for code in (f"cat {data}/PG_VERSION", f"ls {data}", f"echo x >> {data}/postgresql.auto.conf"):
        assert "Permission denied" in as_nobody(code).stderr


def kept_by_nobody(home: Path) -> PostgresServer:
    """As a version of before left it."""
    server = postgres.prepare(home)
    server.before_start()
    with (
        running(server.process(home / "postgres.log"), server.is_ready),
        psycopg.connect(server.url("postgres"), autocommit=True) as connection,
    ):
        connection.execute("CREATE DATABASE kept")
    given_to(SOMEBODY_ELSE, server.folder)
    return server


def test_data_of_nobody_is_taken_over_with_all_that_is_in_it(home: Path) -> None:
    before = kept_by_nobody(home)
    (before.folder / "data").chmod(0o777)
    server = postgres.prepare(home)
    assert server == before
    assert server.account is not None
    assert owners(server.folder) == {server.account.uid}
    assert stat.S_IMODE((server.folder / "data").stat().st_mode) == 0o700
    server.before_start()
    with running(server.process(home / "postgres.log"), server.is_ready), psycopg.connect(server.url("kept")):
        pass


def test_root_that_may_give_nothing_away_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container without CAP_CHOWN."""
    kept_by_nobody(home)

    def refused(*_arguments: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchown", refused)
    with pytest.raises(StartError, match=r"cannot give .*: Operation not permitted"):
        postgres.prepare(home)


def test_a_start_that_was_killed_while_it_took_over_goes_on(home: Path) -> None:
    folder = kept_by_nobody(home).folder
    found = account_for_postgres()
    assert found is not None
    os.chown(folder, 0, 0)  # closed, and one file changed hands
    os.chown(folder / "data" / "PG_VERSION", found.uid, found.gid)
    postgres.prepare(home)
    assert owners(folder) == {found.uid}


def test_no_link_of_nobodys_gives_away_what_it_points_to(tmp_path: Path) -> None:
    folder, secret = tmp_path / "postgres", tmp_path / "secret"
    (folder / "data").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    secret.write_text("of root")
    (folder / "data" / "link").symlink_to(secret)
    (folder / "data" / "folder").symlink_to(tmp_path / "elsewhere")
    given_to(SOMEBODY_ELSE, folder)
    own = Account(1_234, 1_234)
    adopt(folder, own)
    assert owners(folder) == {own.uid}
    assert secret.stat().st_uid == (tmp_path / "elsewhere").stat().st_uid == 0
    os.chown(folder, 0, 0)
    (folder / "data" / "name").hardlink_to(secret)
    with pytest.raises(StartError, match="has another name elsewhere"):
        adopt(folder, own)
    assert secret.stat().st_uid == 0
    assert folder.stat().st_uid == 0, "it is not handed over"


def test_the_user_is_made_once_whoever_else_makes_it(new_name: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        found = set(pool.map(lambda _: account_for_postgres(), range(3)))
    [entry] = [entry for entry in pwd.getpwall() if entry.pw_name == new_name]
    assert found == {Account(entry.pw_uid, entry.pw_gid)}
    assert (entry.pw_dir, Path(entry.pw_dir).exists()) == ("/nonexistent", False)


def test_where_no_user_can_be_made_the_line_says_how(
    new_name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(account, "SYSTEM_PATH", str(tmp_path))
    with pytest.raises(StartError, match=rf"there is no `useradd`.*`useradd --system .* {new_name}`"):
        account_for_postgres()
    failing = tmp_path / "useradd"
    failing.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('useradd: cannot lock /etc/passwd')\n")
    failing.chmod(0o755)
    with pytest.raises(StartError, match="cannot lock /etc/passwd"):
        account_for_postgres()
    monkeypatch.setattr(account, "LOCK_FILE", tmp_path / "read-only" / "lock")
    with pytest.raises(StartError, match=r"could not be made \(No such file or directory\)"):
        account_for_postgres()


def test_a_uid_that_others_have_too_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "OWN_USER", "nobody")
    assert account_for_postgres() == Account(pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid)
    twin = pwd.struct_passwd(("twin", *tuple(pwd.getpwnam("nobody"))[1:]))
    monkeypatch.setattr(pwd, "getpwall", lambda: [twin])
    with pytest.raises(StartError, match="is that of twin too"):
        account_for_postgres()
    monkeypatch.setattr(account, "OWN_USER", "root")
    monkeypatch.setattr(pwd, "getpwall", list)
    with pytest.raises(StartError, match="is that of root too"):
        account_for_postgres()


def test_a_normal_user_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: pytest.fail("a user is made"))
    assert account_for_postgres() is None
