"""`quarterdeck restore FILE`: a home out of a backup, which `up` then goes on with. It writes to an empty home only."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.migrations import knows_revision
from models.settings import Settings
from models.settings.derived import KEY_FILE, POSTGRES_FILE, instances_dir
from workers.embedded import postgres, postgres_place
from workers.embedded.archive import Manifest, read_manifest, unpack
from workers.embedded.backup import BLOBS, DATABASE, INSTANCES, INTERRUPTED, JOURNAL, PRIVATE_FILES
from workers.embedded.database_dump import load, serving
from workers.embedded.errors import StartError
from workers.embedded.home import Home, locked, open_home, write_private
from workers.embedded.intact import RESTORING

UNPACKED = "restore.files"


def restore(settings: Settings, source: Path, *, as_json: bool) -> int:
    """Prints what to do next. Returns 0, or 130 after Ctrl-C. Raises StartError; then the home is as empty as it was."""
    os.umask(PRIVATE_FILES)
    try:
        manifest = read_manifest(source)
        _refuse(settings, source, manifest)
        was_there = settings.home.exists()
        home = open_home(settings.home)
        with locked(home), _restoring(home, was_there=was_there):
            _restore(settings, home, source, manifest)
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        raise StartError(f"nothing was restored: {error.filename or source}: {error.strerror or error}") from None
    if as_json:
        document = {"home": str(home.path), "created_at": manifest.created_at, "schema": manifest.schema}
        print(json.dumps(document))  # noqa: T201
    else:
        print(f"Restored what {source} had at {manifest.created_at} to {home.path}.")  # noqa: T201
        print("Start it with `quarterdeck up`. Do not start what it was made from: both own the same machines.")  # noqa: T201
    return 0


def _refuse(settings: Settings, source: Path, manifest: Manifest) -> None:
    """Before anything is made."""
    if manifest.schema is not None and not knows_revision(manifest.schema):
        raise StartError(f"{source} was made by a newer version of Quarterdeck: restore it with that one")
    if manifest.has_database and settings.database_url is not None:
        raise StartError(
            f"{source} holds the database of an embedded server: restore it without QUARTERDECK_DATABASE_URL"
        )
    home, machines = settings.home, instances_dir(settings)
    was_begun = (home / RESTORING).exists()
    for folder in (home, machines):
        is_free = not folder.exists() or not any(folder.iterdir()) or (was_begun and folder.is_relative_to(home))
        if not is_free:
            raise StartError(f"{folder} is not empty: a backup is restored to an empty home (QUARTERDECK_HOME)")


@contextmanager
def _restoring(home: Home, *, was_there: bool) -> Iterator[None]:
    """What was written is removed again unless the block comes to its end.

    After a kill the mark stays: `up` refuses, and the next restore begins anew.
    """
    mark = home.path / RESTORING
    write_private(mark, "")
    _empty(home)
    try:
        yield
    except BaseException:
        _empty(home)
        mark.unlink()
        shutil.rmtree(home.logs)
        shutil.rmtree(home.ready_file(""))
        home.lock_file.unlink()
        if not was_there:
            home.path.rmdir()
        raise
    mark.unlink()


def _restore(settings: Settings, home: Home, source: Path, manifest: Manifest) -> None:
    unpacked = home.path / UNPACKED
    unpacked.mkdir(mode=0o700)
    unpack(source, unpacked)
    if manifest.has_database:
        server = postgres.prepare(home.path)
        with serving(server, home.logs / "restore.log"):
            load(server.url(), unpacked / DATABASE)
    for name in _files(home):
        if (unpacked / name).exists():
            (unpacked / name).rename(home.path / name)
    _move(unpacked / JOURNAL, home.path / JOURNAL)
    _move(unpacked / BLOBS, home.path / BLOBS)
    _move(unpacked / INSTANCES, instances_dir(settings))
    shutil.rmtree(unpacked)


def _move(source: Path, target: Path) -> None:
    for folder in sorted(source.iterdir()) if source.is_dir() else []:
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.move(folder, target / folder.name)


def _empty(home: Home) -> None:
    """But for the mark, and for what `open_home` and the lock made."""
    record = postgres_place.read_record(home.path)
    if record is not None:
        postgres_place.remove(home.path, record)
    for name in (*_files(home), POSTGRES_FILE):
        (home.path / name).unlink(missing_ok=True)
    for name in (UNPACKED, JOURNAL, INSTANCES, BLOBS):
        shutil.rmtree(home.path / name, ignore_errors=True)


def _files(home: Home) -> tuple[str, ...]:
    return KEY_FILE, home.admin_file.name, home.temporal_database.name, home.simcloud_database.name
