"""`quarterdeck backup FILE`: all that makes an installation, in one file, whether the stack runs or not.

The parts are copied one after the other, and in this order: who repeats itself without harm may be older, who has to know
everything that the others rely on is newer (docs/decisions/0060-a-home-and-its-copies.md).

1. the journal of inference requests: what is in it twice is recorded once;
2. Temporal: an owner that is older than its row reads the row;
3. the database;
4. the simulated cloud, the folders of served machines, the blobs: what was made for a row exists.
"""

import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from models.base.clock import rfc3339, utc_now
from models.migrations import current_revision
from models.settings import Settings
from models.settings.derived import KEY_FILE, admin_url, blobs_dir, instances_dir
from workers.embedded import postgres
from workers.embedded.account import known_account
from workers.embedded.archive import Manifest, contents, write_archive
from workers.embedded.database_dump import dump, serving
from workers.embedded.disk_space import LOW_BYTES, MB
from workers.embedded.errors import StartError
from workers.embedded.home import Home, is_locked, locked, refuse_open_or_foreign
from workers.embedded.intact import refuse_half_a_home
from workers.embedded.leftovers import end_leftovers
from workers.embedded.sqlite_copy import copy_database

DATABASE, INSTANCES, JOURNAL, BLOBS = "database", "instances", "journal", "blobs"
"""Folders of the archive."""

STAGED = "backup.partial"
"""In the home, while a backup is made."""

OF_A_RUNNING_AGENT = (".log", ".lock")
"""What its folder holds beside the facts: what it said, and locks that a new one takes again."""

OF_A_WRITE = ("#",)
"""What an object that is being written has in its name (obstore)."""

PRIVATE_FILES = 0o077
INTERRUPTED = 130
NOT_IN_IT = "Not in it: logs and models."


def backup(settings: Settings, target: Path, *, as_json: bool) -> int:
    """Prints what was saved. Returns 0, or 130 after Ctrl-C. Raises StartError; then there is no file."""
    os.umask(PRIVATE_FILES)
    home = Home(settings.home)
    try:
        with ExitStack() as exits:
            _refuse_unusable(settings, home, target)
            exits.enter_context(_only_one(home))
            staged = exits.enter_context(_staged(home))
            url = exits.enter_context(_database(settings, home))
            _refuse_without_room(settings, home, url, target)
            manifest = _collect(settings, home, staged, url)
            length = write_archive(target, staged, manifest)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise StartError(f"no backup was made: {reason}") from None
    _tell(settings, home, target, manifest, length, as_json=as_json)
    return 0


def _refuse_unusable(settings: Settings, home: Home, target: Path) -> None:
    if target.exists():
        raise StartError(f"{target} exists: name another file")
    if not target.absolute().parent.is_dir():
        raise StartError(f"{target.absolute().parent} does not exist")
    try:
        refuse_open_or_foreign(home.path)
    except FileNotFoundError:
        raise StartError(f"there is no installation in {home.path}") from None
    refuse_half_a_home(settings, known_account())
    if settings.installation_key is None and not (home.path / KEY_FILE).exists():
        raise StartError(f"there is no installation in {home.path}")


@contextmanager
def _only_one(home: Home) -> Iterator[None]:
    descriptor = os.open(home.path / "backup.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StartError(f"another backup of {home.path} is being made") from None
    finally:
        os.close(descriptor)


@contextmanager
def _staged(home: Home) -> Iterator[Path]:
    """An empty folder. One that a kill left behind is removed."""
    folder = home.path / STAGED
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _database(settings: Settings, home: Home) -> Iterator[str | None]:
    """A superuser's URL of the embedded server, which is that of the running stack or runs for us alone; None for another's."""
    if is_locked(home):
        yield _url_of_running(settings, home) if settings.database_url is None else None
        return
    with locked(home):  # no `up` begins meanwhile
        end_leftovers(home)
        if settings.database_url is not None:
            yield None
            return
        server = postgres.prepare(home.path)
        with serving(server, home.logs / "backup.log"):
            server.ensure_database()
            yield server.url()


def _url_of_running(settings: Settings, home: Home) -> str:
    url = admin_url(settings)
    try:
        with psycopg.connect(url, connect_timeout=5):
            return url
    except psycopg.OperationalError:
        raise StartError(f"the stack in {home.path} is just starting or stopping: try again") from None


def _refuse_without_room(settings: Settings, home: Home, url: str | None, target: Path) -> None:
    """A copy that fills the disk would stop the very stack that is copied. Raises StartError."""
    databases = (home.temporal_database, home.simcloud_database)
    copied = sum(file.stat().st_size for database in databases for file in database.parent.glob(f"{database.name}*"))
    copied += sum(file.stat().st_size for file in blobs_dir(settings).rglob("*"))
    if url is not None:
        with psycopg.connect(url) as connection:
            [(length,)] = connection.execute("SELECT pg_database_size(current_database())").fetchall()
            copied += length
    needed = 2 * copied + LOW_BYTES  # what is copied first and the archive may lie on one disk
    for folder in (home.path, target.absolute().parent):
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise StartError(f"a backup may need {needed // MB} MB in {folder}, where {free // MB} MB are free")


def _collect(settings: Settings, home: Home, staged: Path, url: str | None) -> Manifest:
    created_at = rfc3339(utc_now())
    _copy_files(home.path / JOURNAL, staged / JOURNAL, without=())
    has_engine = settings.temporal_address is None and home.temporal_database.exists()
    if has_engine:
        copy_database(home.temporal_database, staged / home.temporal_database.name)
    if url is not None:
        (staged / DATABASE).mkdir()
        dump(url, staged / DATABASE)
    if home.simcloud_database.exists():
        copy_database(home.simcloud_database, staged / home.simcloud_database.name)
    _copy_files(instances_dir(settings), staged / INSTANCES, without=OF_A_RUNNING_AGENT)
    for installation in blobs_dir(settings).glob("*"):
        _copy_files(installation, staged / BLOBS / installation.name, without=OF_A_WRITE)
    for name in (KEY_FILE, home.admin_file.name):
        _copy_file(home.path / name, staged / name)
    schema = None if url is None else current_revision(url)
    return Manifest(created_at, url is not None, has_engine, schema, contents(staged))


def _copy_files(source: Path, target: Path, without: tuple[str, ...]) -> None:
    """The files one level below it, folder by folder. One that goes away meanwhile is not there."""
    for path in sorted(source.glob("*/*")):
        is_of_interest = path.is_file() and not path.is_symlink() and not any(ending in path.name for ending in without)
        if is_of_interest and not path.name.startswith(".") and not path.parent.name.startswith("."):
            _copy_file(path, target / path.parent.name / path.name)


def _copy_file(source: Path, target: Path) -> None:
    try:
        with source.open("rb") as file:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as copy:
                shutil.copyfileobj(file, copy)
    except FileNotFoundError:
        return


def _tell(settings: Settings, home: Home, target: Path, manifest: Manifest, length: int, *, as_json: bool) -> None:
    machines = len({name.split("/")[1] for name in manifest.files if name.startswith(f"{INSTANCES}/")})
    missing = {
        "database": not manifest.has_database,
        "temporal": not manifest.has_engine,
        "installation_key": KEY_FILE not in manifest.files,
        "blobs": settings.blob_url is not None,
    }
    if as_json:
        document = {
            "home": str(home.path),
            "file": str(target),
            "bytes": length,
            "created_at": manifest.created_at,
            "schema": manifest.schema,
            "served_machines": machines,
            "missing": [name for name, is_missing in missing.items() if is_missing],
        }
        print(json.dumps(document))  # noqa: T201
        return
    print(f"Saved {home.path} to {target} ({length / 1e6:.1f} MB). {NOT_IN_IT}")  # noqa: T201
    said = {
        "database": "The database of QUARTERDECK_DATABASE_URL is not in it: save it by itself.",
        "temporal": "What Temporal keeps is not in it; owners begin anew from the database.",
        "installation_key": "QUARTERDECK_INSTALLATION_KEY is not in it: keep that apart.",
        "blobs": "What lies at QUARTERDECK_BLOB_URL is not in it.",
    }
    for name, is_missing in missing.items():
        if is_missing:
            print(said[name])  # noqa: T201
    print("Whoever has this file has the installation: keep it as secret as a key.")  # noqa: T201
