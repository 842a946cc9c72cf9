"""The file that a backup is: a compressed tar archive whose first member, the manifest, names all others with length and hash.

It is read as carefully as if it came from anybody: nothing is unpacked that the manifest does not name, nothing but regular
files, and to no place but below the folder that was asked for.
"""

import hashlib
import io
import json
import os
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, BinaryIO

from models.base.durable import flush_folder
from workers.embedded.errors import StartError

FORMAT = 1
"""Of the archive. A newer one is refused; an older one is to be read for ever."""

MANIFEST = "manifest.json"
LARGEST_MANIFEST_BYTES = 64_000_000
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
"""No `..`, nothing hidden, nothing absolute."""

CHUNK_BYTES = 1 << 20
COMPRESSION = 6
DAMAGED = (tarfile.TarError, zlib.error, EOFError, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class Content:
    """One file of the archive."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What is in it besides the files of the home: `schema` is the revision of its database, None where there is none."""

    created_at: str
    has_database: bool
    has_engine: bool
    schema: str | None
    files: Mapping[str, Content]


def write_archive(target: Path, staged: Path, manifest: Manifest) -> int:
    """Everything below `staged`, whole or not at all. Returns its length in bytes.

    Raises OSError: FileExistsError for a target that is there.
    """
    if target.exists():
        raise FileExistsError(str(target))
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _write(file, staged, manifest)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    flush_folder(target.parent)
    return target.stat().st_size


def contents(staged: Path) -> dict[str, Content]:
    """Every file below it. Raises OSError."""
    found = sorted(path for path in staged.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(staged).as_posix(): Content(path.stat().st_size, _hash(path)) for path in found}


def read_manifest(source: Path) -> Manifest:
    """Raises StartError for what is no archive of ours, one of a newer version, or one that is damaged in its beginning."""
    with _opened(source) as archive:
        return _manifest_of(source, archive)


def unpack(source: Path, folder: Path) -> None:
    """Every file of the archive, to below `folder`, which is empty. Raises StartError unless all of it is as it was written."""
    with _opened(source) as archive:
        expected = dict(_manifest_of(source, archive).files)
        while (member := archive.next()) is not None:
            content = expected.pop(member.name, None)
            if content is None or not member.isreg() or member.size != content.bytes:
                raise StartError(f"{source} is damaged: it holds what its manifest does not name")
            opened = archive.extractfile(member)
            if opened is None or _copy(opened, folder / member.name) != content.sha256:
                raise StartError(f"{source} is damaged: {member.name} is not what it was")
        if expected:
            raise StartError(f"{source} is damaged: {min(expected)} is missing")


def _write(file: BinaryIO, staged: Path, manifest: Manifest) -> None:
    text = json.dumps({"quarterdeck_backup": FORMAT, **asdict(manifest)}, indent=1).encode()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=COMPRESSION, format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(_member(MANIFEST, len(text)), io.BytesIO(text))
        for name, content in manifest.files.items():
            with (staged / name).open("rb") as one:
                archive.addfile(_member(name, content.bytes), one)


def _member(name: str, size: int) -> tarfile.TarInfo:
    """Without owner and time of this machine."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


@contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(source, "r:gz") as archive:
            yield archive
    except DAMAGED as error:
        raise StartError(f"{source} is no backup of Quarterdeck, or is damaged ({type(error).__name__})") from None


def _manifest_of(source: Path, archive: tarfile.TarFile) -> Manifest:
    """The first member."""
    member = archive.next()
    opened = None if member is None or member.name != MANIFEST else archive.extractfile(member)
    if member is None or opened is None or member.size > LARGEST_MANIFEST_BYTES:
        raise StartError(f"{source} is no backup of Quarterdeck")
    content = json.loads(opened.read())
    written = int(content["quarterdeck_backup"])
    if written > FORMAT:
        raise StartError(f"{source} was made by a newer version of Quarterdeck: restore it with that one")
    files = {str(name): Content(int(one["bytes"]), str(one["sha256"])) for name, one in content["files"].items()}
    strange = next((name for name in files if not NAME.fullmatch(name) or name == MANIFEST), None)
    if strange is not None:
        raise StartError(f"{source} is damaged: it names a file {strange!r}")
    schema = content["schema"]
    return Manifest(
        str(content["created_at"]),
        bool(content["has_database"]),
        bool(content["has_engine"]),
        None if schema is None else str(schema),
        files,
    )


def _copy(opened: IO[bytes], target: Path) -> str:
    """Returns the hash of what was written."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    digest = hashlib.sha256()
    with os.fdopen(descriptor, "wb") as file:
        while chunk := opened.read(CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
