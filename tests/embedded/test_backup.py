"""`quarterdeck backup` and `restore`: an installation goes on elsewhere, and a file that is not whole is no backup."""

import gzip
import io
import json
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row
from pydantic import SecretStr

from models.settings import Settings
from models.settings.derived import admin_url, simcloud_token
from tests.embedded.driver import ROOT, SOMEBODY_ELSE, Up, command, environment, forget, wait_for
from tests.needs import need
from tests.patience import GIVE_UP_S, OF_A_STACK_S
from workers.embedded import archive, restore
from workers.embedded import backup as saving
from workers.embedded.archive import Content, Manifest, contents, read_manifest, unpack, write_archive
from workers.embedded.backup import backup
from workers.embedded.errors import StartError
from workers.embedded.fleet.instances import end_instances
from workers.embedded.home import Home, ensure_key, open_home, write_private
from workers.embedded.sqlite_copy import copy_database

STRANGE = 'a #1 100%25 "it\'s" [ü]'
PATIENCE_S = OF_A_STACK_S
"""Three whole installations start one after the other, on a machine that may be busy."""

EMPTY = Manifest("2026-01-01T00:00:00Z", has_database=False, has_engine=False, schema=None, files={})


class Installation:
    """A real one, as `quarterdeck up` runs it."""

    def __init__(self, up: Up) -> None:
        self.up, self.home = up, up.home
        self._settings = Settings(home=up.home)
        self._admin = json.loads((up.home / "admin.json").read_text())

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = httpx.request(
            method, f"http://127.0.0.1:{self.up.env['QUARTERDECK_API_PORT']}{path}", json=body, timeout=GIVE_UP_S,
            headers={"authorization": f"Bearer {self._admin['api_key']}"}, trust_env=False,
        )  # fmt: skip
        assert answer.is_success, answer.text
        return dict(answer.json())

    def status_becomes(self, instance_id: str, status: str) -> None:
        wait_for(
            lambda: self.call("GET", f"/instances/{instance_id}")["status"] == status,
            f"{status} of {instance_id}",
            PATIENCE_S,
        )

    def bills(self, instance_id: str) -> list[dict[str, Any]]:
        with psycopg.connect(admin_url(self._settings), row_factory=dict_row) as connection:
            return connection.execute(
                "SELECT id, opened_at, closed_at FROM billing_segments WHERE instance_id = %s ORDER BY id",
                (instance_id,),
            ).fetchall()

    def machines(self, instance_id: str) -> dict[str, Any]:
        """What the simulated cloud ever made for it."""
        tag = f"quarterdeck:instance={instance_id}"
        answer = httpx.get(
            f"http://127.0.0.1:{self.up.env['QUARTERDECK_SIMCLOUD_PORT']}/sim/ledger", params={"group_prefix": tag},
            headers={"authorization": f"Bearer {simcloud_token(self._settings).get_secret_value()}"}, trust_env=False,
        )  # fmt: skip
        return dict(answer.json()["groups"][tag])


@contextmanager
def running(env: Mapping[str, str]) -> Iterator[Installation]:
    home = Path(env["QUARTERDECK_HOME"])
    output = home.parent / f"{len(list(home.parent.iterdir()))}.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers", "up"], env=dict(env), cwd="/", stdout=file, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
    up = Up(home, env, process, output)
    try:
        wait_for(lambda: "is ready after" in up.text() or process.poll() is not None, "readiness", PATIENCE_S)
        assert process.poll() is None, up.text()
        yield Installation(up)
        assert up.stop() == 0
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(GIVE_UP_S)


def commands_of(chapter: str) -> list[str]:
    """The fenced commands of a chapter of docs/operating.md."""
    text = (ROOT / "docs" / "operating.md").read_text()
    found = re.search(rf"^##+ {chapter}\n(.*?)(?=^##)", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return re.findall(r"```sh\n(.*?)```", found[1], re.DOTALL)


def carried_out(script: str, env: Mapping[str, str], home: Path) -> str:
    """As a person types it, whose folder is that of the test."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    result = subprocess.run(
        ["bash", "-euc", script], env={**env, "HOME": str(home.parent), "PATH": path}, cwd=home.parent,
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.timeout(900)
def test_an_installation_goes_on_from_a_backup_in_another_folder(tmp_path: Path) -> None:
    """Of the running one first, then of the stopped one. The documented commands make them, and move the home in between."""
    home, restored, third = tmp_path / STRANGE, tmp_path / "restored", tmp_path / "third"
    env = environment(home)
    saving, restoring = commands_of("Backup and restore")
    [moving] = commands_of("Moving")
    try:
        with running(env) as first:
            order = {"model_id": "mock-echo-model", "provider_code": "mock", "instance_type": "sim-l4-1-24g"}
            instance = first.call("POST", "/deployments", order)["instance_id"]
            served = first.call("POST", "/deployments", {"model_id": "smollm2-135m-instruct", "provider_code": "local"})
            local = served["instance_id"]
            for one in (instance, local):
                first.status_becomes(one, "ready")
            bills, machines = first.bills(instance), first.machines(instance)
            assert "Saved" in carried_out(saving, env, home)
            assert [bill["closed_at"] for bill in bills] == [None] * len(bills)
        assert command(env, "down", "--instances").returncode == 0
        [saved] = tmp_path.glob("*.tar.gz")
        assert stat.S_IMODE(saved.stat().st_mode) == 0o600
        assert "Restored" in carried_out(restoring, env, home)
        with running(env | {"QUARTERDECK_HOME": str(restored)}) as second:
            second.status_becomes(instance, "ready")
            assert (second.bills(instance), second.machines(instance)) == (bills, machines)
        carried_out(moving, env | {"QUARTERDECK_HOME": str(restored)}, restored)
        assert not restored.exists()
        moved = env | {"QUARTERDECK_HOME": str(tmp_path / "restored.moved")}
        stopped = command(moved, "backup", str(tmp_path / "stopped"), "--json")
        assert json.loads(stopped.stdout)["missing"] == [], stopped.stderr
        assert command(env | {"QUARTERDECK_HOME": str(third)}, "restore", str(tmp_path / "stopped")).returncode == 0
        with running(env | {"QUARTERDECK_HOME": str(third)}) as last:
            last.status_becomes(instance, "ready")
            assert (last.bills(instance), last.machines(instance)) == (bills, machines)
            for one in (instance, local):
                last.call("DELETE", f"/instances/{one}")
                last.status_becomes(one, "terminated")
                assert all(bill["closed_at"] is not None for bill in last.bills(one))
            [machine] = (third / "instances").iterdir()
            assert (machine / "ended.json").exists()
            after = last.machines(instance)
            assert (after["live_machines"], after["ended_machines"]) == ([], machines["live_machines"])
            assert last.call("POST", "/deployments", order)["status"]
    finally:
        for path in (home, restored, tmp_path / "restored.moved", third):
            end_instances(path / "instances")
            forget(path)


@pytest.mark.timeout(900)
def test_a_machine_that_an_older_database_has_forgotten_is_told_of_and_ended_by_hand(tmp_path: Path) -> None:
    """An older database beside a cloud that remembers what was made since: the commands of the chapter find it and end it."""
    home, older = tmp_path / "home", tmp_path / "older"
    env, saved = environment(home), tmp_path / "saved"
    then = env | {"QUARTERDECK_HOME": str(older)}
    [chapter] = commands_of("After a restore of something older")
    shown, ended = (line.partition("#")[0].strip() for line in chapter.splitlines())
    try:
        with running(env) as first:
            assert command(env, "backup", str(saved)).returncode == 0
            order = {"model_id": "mock-echo-model", "provider_code": "mock"}
            forgotten = first.call("POST", "/deployments", order)["instance_id"]
            first.status_becomes(forgotten, "ready")
            [machine] = first.machines(forgotten)["live_machines"]
        assert command(then, "restore", str(saved)).returncode == 0
        shutil.copy(home / "simcloud.db", older / "simcloud.db")
        with running(then) as second:
            wait_for(lambda: machine in command(then, "machines").stdout, "word of it", PATIENCE_S)
            assert command(then, *shown.split()[1:]).returncode == 1
            for naming in ("status", "doctor"):
                assert machine in command(then, naming).stdout, naming
            assert machine in second.machines(forgotten)["live_machines"], "nothing ends it but a person"
            carried_out(f"{ended.replace('ID', machine)} --yes", then, older)
            wait_for(lambda: not second.machines(forgotten)["live_machines"], "its end", PATIENCE_S)
            wait_for(lambda: command(then, *shown.split()[1:]).returncode == 0, "an empty list", PATIENCE_S)
    finally:
        for path in (home, older):
            end_instances(path / "instances")
            forget(path)


# -- A small home


OF_NOBODY = SecretStr("postgresql://nobody@127.0.0.1:9/quarterdeck_of_nobody")


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A backup of a home without database, whose cloud knows one thing."""
    home = open_home(tmp_path / "home")
    ensure_key(home)
    with sqlite3.connect(home.simcloud_database) as connection:
        connection.execute("CREATE TABLE machines (id text)")
        connection.execute("INSERT INTO machines VALUES ('one')")
    for name in ("boot.json", "agent.lock", "agent.log", "agent.log.1", ".boot.json.7"):
        (home.path / "instances" / "m-1").mkdir(parents=True, exist_ok=True)
        write_private(home.path / "instances" / "m-1" / name, name)
    (home.path / "blobs" / "installation" / "organization").mkdir(parents=True)
    for name in ("object", "object#1"):
        write_private(home.path / "blobs" / "installation" / "organization" / name, name)
    (home.path / "journal" / "owner").mkdir(parents=True)
    write_private(home.path / "journal" / "owner" / "lock", "")
    target = tmp_path / "backup"
    assert backup(Settings(home=home.path, database_url=OF_NOBODY), target, as_json=False) == 0
    return target


def without_database(home: Path) -> dict[str, str]:
    return environment(home, QUARTERDECK_DATABASE_URL=OF_NOBODY.get_secret_value())


def names_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_is_in_a_backup_comes_back_private(tmp_path: Path, saved: Path) -> None:
    home = tmp_path / "other"
    result = command(without_database(home), "restore", str(saved), "--json")
    assert json.loads(result.stdout)["home"] == str(home)
    assert names_below(home) == {
        "installation.key", "simcloud.db", "instances/m-1/boot.json", "journal/owner/lock", "up.lock",
        "blobs/installation/organization/object",
    }  # fmt: skip
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.rglob("*") if path.is_file()} == {0o600}
    assert (home / "installation.key").read_text() == (tmp_path / "home" / "installation.key").read_text()
    with sqlite3.connect(home / "simcloud.db") as connection:
        assert connection.execute("SELECT id FROM machines").fetchall() == [("one",)]


def test_a_backup_overwrites_nothing_and_says_what_is_not_in_it(tmp_path: Path, saved: Path) -> None:
    env, before = without_database(tmp_path / "home"), saved.read_bytes()
    again = command(env, "backup", str(saved))
    assert (again.returncode, f"{saved} exists" in again.stderr) == (2, True)
    assert saved.read_bytes() == before
    told = command(env, "backup", str(tmp_path / "second"))
    assert "The database of QUARTERDECK_DATABASE_URL is not in it" in told.stdout
    assert "does not exist" in command(env, "backup", str(tmp_path / "no folder" / "x")).stderr
    assert (
        "there is no installation" in command(environment(tmp_path / "nothing"), "backup", str(tmp_path / "x")).stderr
    )
    assert not (tmp_path / "nothing").exists()


def test_a_home_that_is_not_empty_is_not_restored_to(tmp_path: Path, saved: Path) -> None:
    env = without_database(tmp_path / "other")
    (tmp_path / "other").mkdir(mode=0o700)
    (tmp_path / "other" / "mine").write_text("")
    result = command(env, "restore", str(saved), "--json")
    assert json.loads(result.stderr)["code"] == "CANNOT_START"
    assert "is not empty" in result.stderr
    assert names_below(tmp_path / "other") == {"mine"}


def altered(source: Path, target: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> Path:
    """The same archive with other members."""
    with tarfile.open(source) as old:
        members = {member.name: old.extractfile(member).read() for member in old}  # type: ignore[union-attr]
    with tarfile.open(target, "w:gz") as new:
        for name, content in change(members).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    return target


def with_manifest(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    def changed(members: dict[str, bytes]) -> dict[str, bytes]:
        manifest = json.loads(members["manifest.json"])
        change(manifest)
        return {**members, "manifest.json": json.dumps(manifest).encode()}

    return changed


REFUSED = {
    "of a newer format": (with_manifest(lambda one: one.update(quarterdeck_backup=2)), "made by a newer version"),
    "of a newer schema": (with_manifest(lambda one: one.update(schema="9999")), "made by a newer version"),
    "other content": (
        lambda one: {**one, "installation.key": b"x" * len(one["installation.key"])},
        "is not what it was",
    ),
    "other length": (lambda one: {**one, "installation.key": b"x"}, "does not name"),
    "one too few": (lambda one: {n: c for n, c in one.items() if n != "simcloud.db"}, "simcloud.db is missing"),
    "one too many": (lambda one: {**one, "more": b""}, "does not name"),
    "without manifest": (lambda one: {n: c for n, c in one.items() if n != "manifest.json"}, "is no backup"),
    "a way out": (
        with_manifest(lambda one: one["files"].update({"../x": {"bytes": 0, "sha256": ""}})),
        "it names a file",
    ),
    "an absolute name": (
        with_manifest(lambda one: one["files"].update({"/x": {"bytes": 0, "sha256": ""}})),
        "names a file",
    ),
    "a hidden file": (
        with_manifest(lambda one: one["files"].update({"a/.x": {"bytes": 0, "sha256": ""}})),
        "names a file",
    ),
    "no manifest of ours": (lambda one: {**one, "manifest.json": b"{}"}, "is no backup"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_that_is_not_as_it_was_written_restores_nothing(tmp_path: Path, saved: Path, what: str) -> None:
    change, told = REFUSED[what]
    file = altered(saved, tmp_path / "altered", change)
    with pytest.raises(StartError, match=told):
        restore.restore(Settings(home=tmp_path / "other", database_url=OF_NOBODY), file, as_json=False)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("kept", [0, 20, 400])
def test_a_file_that_was_cut_short_is_no_backup(tmp_path: Path, saved: Path, kept: int) -> None:
    file = tmp_path / "cut"
    file.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(StartError, match=r"is no backup of Quarterdeck"):
        restore.restore(Settings(home=tmp_path / "other", database_url=OF_NOBODY), file, as_json=False)
    assert not (tmp_path / "other").exists()


def test_links_and_devices_are_not_unpacked(tmp_path: Path) -> None:
    staged = tmp_path / "staged"
    staged.mkdir()
    (staged / "file").write_text("")
    manifest = replace(EMPTY, files=contents(staged))
    text = json.dumps(
        {"quarterdeck_backup": 1, **vars(manifest), "files": {"file": vars(manifest.files["file"])}}
    ).encode()
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
        source = tmp_path / f"kind-{kind.decode()}"
        with tarfile.open(source, "w:gz") as made:
            first, second = tarfile.TarInfo("manifest.json"), tarfile.TarInfo("file")
            first.size, second.type, second.linkname = len(text), kind, "/etc/passwd"
            made.addfile(first, io.BytesIO(text))
            made.addfile(second)
        with pytest.raises(StartError, match="does not name"):
            unpack(source, tmp_path / "unpacked")
    assert not (tmp_path / "unpacked").exists()


def test_a_backup_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged = tmp_path / "staged"
    staged.mkdir()
    (staged / "file").write_text("x")
    manifest = replace(EMPTY, files={**contents(staged), "gone": Content(1, "")})
    with pytest.raises(FileNotFoundError):
        write_archive(tmp_path / "target", staged, manifest)
    assert [path.name for path in tmp_path.iterdir()] == ["staged"]
    (tmp_path / ".target.partial").write_text("of one that was killed")
    whole = replace(EMPTY, files=contents(staged))
    write_archive(tmp_path / "target", staged, whole)
    assert read_manifest(tmp_path / "target") == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["staged", "target"]
    assert gzip.decompress((tmp_path / "target").read_bytes()).count(b"root") == 0, "nothing tells who made it"
    monkeypatch.setattr(archive, "FORMAT", 0)
    with pytest.raises(StartError, match="newer version"):
        read_manifest(tmp_path / "target")


def test_a_backup_that_finds_no_room_or_is_interrupted_is_none(
    tmp_path: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, second = Settings(home=tmp_path / "home", database_url=OF_NOBODY), tmp_path / "second"
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=33_000_000))
        with pytest.raises(StartError, match=r"a backup may need 32 MB in .*, where 31 MB are free"):
            backup(settings, second, as_json=False)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(saving, "contents", interrupted)
    assert backup(settings, second, as_json=False) == 130
    assert {path.name for path in tmp_path.iterdir()} == {"home", saved.name}
    assert not (tmp_path / "home" / "backup.partial").exists()


def test_a_restore_that_was_killed_keeps_up_away_and_can_be_repeated(tmp_path: Path, saved: Path) -> None:
    home = tmp_path / "other"
    code = (
        "import os, signal; from pathlib import Path; from models.settings import load_settings; from workers.embedded import restore;"
        "restore._move = lambda *_: os.kill(os.getpid(), signal.SIGKILL);"
        f"restore.restore(load_settings(), Path({str(saved)!r}), as_json=False)"
    )
    env = without_database(home)
    killed = subprocess.run([sys.executable, "-c", code], env=env, cwd="/", capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    told = command(env, "up")
    assert (told.returncode, "a restore into" in told.stderr) == (2, True)
    assert command(env, "restore", str(saved)).returncode == 0
    assert (home / "instances" / "m-1" / "boot.json").exists()
    assert not (home / "restore.partial").exists()


def test_root_restores_nothing_into_a_users_folder(tmp_path: Path, saved: Path) -> None:
    need(present=os.geteuid() == 0, what="root", install="run the tests as root")
    users = tmp_path / "users"
    users.mkdir()
    os.chown(users, SOMEBODY_ELSE, -1)
    told = command(without_database(users / "home"), "restore", str(saved))
    assert (told.returncode, "belongs to another user" in told.stderr) == (2, True)
    assert list(users.iterdir()) == []


def test_a_database_that_is_written_to_is_copied_at_one_moment(tmp_path: Path) -> None:
    source, copy = tmp_path / "a #1?b %41.db", tmp_path / "copy.db"
    with sqlite3.connect(source) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("CREATE TABLE pairs (a int, b int)")
        writer.execute("INSERT INTO pairs VALUES (1, 1)")
        writer.commit()
        writer.execute("UPDATE pairs SET a = 2")  # not committed
        copy_database(source, copy)
        writer.rollback()
    assert sorted(path.name for path in tmp_path.iterdir() if "1?b" not in path.name) == ["copy.db"]
    with sqlite3.connect(copy) as reader:
        assert reader.execute("SELECT * FROM pairs").fetchall() == [(1, 1)]
    with pytest.raises(sqlite3.OperationalError):
        copy_database(tmp_path / "absent.db", tmp_path / "nothing.db")
    assert Home(tmp_path).temporal_database.name == "temporal.db"
