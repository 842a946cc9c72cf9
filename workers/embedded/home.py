"""The folder of one installation: its layout, its lock (one `up` at a time), its key, and the record of what runs."""

import fcntl
import json
import os
import pwd
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from models.base.private_files import NotPrivate, check_folder, read_private
from models.settings.derived import KEY_FILE
from workers.embedded.errors import StartError

OPEN_TO_POSTGRES, PRIVATE = 0o711, 0o700


@dataclass(frozen=True)
class Place:
    """A folder as the system knows it. A copy is another one, a folder that was renamed is the same.

    A file system that is mounted again, after a restart of the machine, may have another `device`.
    """

    path: str
    device: int
    inode: int

    def is_same_folder(self, other: "Place") -> bool:
        return (self.device, self.inode) == (other.device, other.inode)


def place_of(folder: Path) -> Place:
    """Raises OSError."""
    found = folder.stat()
    return Place(str(folder.resolve()), found.st_dev, found.st_ino)


def place_from(content: object) -> Place | None:
    """The place of a record; None for what is none."""
    if not isinstance(content, Mapping):
        return None
    try:
        return Place(str(content["path"]), int(content["device"]), int(content["inode"]))
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True)
class Home:
    path: Path

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def admin_file(self) -> Path:
        return self.path / "admin.json"

    @property
    def temporal_database(self) -> Path:
        return self.path / "temporal.db"

    @property
    def simcloud_database(self) -> Path:
        return self.path / "simcloud.db"

    @property
    def run_record(self) -> Path:
        """What runs now, or ran when the supervisor was killed."""
        return self.path / "up.json"

    @property
    def lock_file(self) -> Path:
        return self.path / "up.lock"

    def ready_file(self, part: str) -> Path:
        """Where a part without a port says that it works (see `workers.readiness`)."""
        return self.path / "ready" / part


def open_home(path: Path) -> Home:
    """The home, made if needed. For root it lets PostgreSQL's account pass through.

    Raises StartError; for a folder that is somebody else's before anything is made.
    """
    hint = "choose another folder with QUARTERDECK_HOME"
    try:
        if not path.exists():
            refuse_folder_of_a_user(path)
            path.mkdir(parents=True)
            path.chmod(OPEN_TO_POSTGRES if os.geteuid() == 0 else PRIVATE)
        refuse_open_or_foreign(path)
        with tempfile.TemporaryFile(dir=path):
            pass
        home = Home(path)
        home.logs.mkdir(exist_ok=True)
        home.ready_file("").mkdir(exist_ok=True)
    except OSError as error:
        raise StartError(f"cannot write to {path}: {error.strerror or error}; {hint}") from None
    return home


@contextmanager
def locked(home: Home) -> Iterator[None]:
    """Only one process is inside the block for a home; the kernel lets go of the lock with it. Raises StartError."""
    descriptor = _opened(home, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"Quarterdeck already runs in {home.path}: see `quarterdeck status`") from None
        yield
    finally:
        os.close(descriptor)


def is_locked(home: Home) -> bool:
    """Whether an `up` of this home runs. Raises StartError for a home that we may not look into."""
    try:
        descriptor = _opened(home, os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def refuse_folder_of_a_user(path: Path) -> None:
    """One `sudo` would leave a home that its user cannot open any more. Raises StartError."""
    if os.geteuid() != 0:
        return
    folder = next(parent for parent in path.absolute().parents if os.access(parent, os.F_OK))
    uid = folder.stat().st_uid
    if uid != 0:
        raise StartError(
            f"{folder} belongs to another user ({_name_of(uid)}): run this as that user, not as root, "
            "or choose another folder with QUARTERDECK_HOME"
        )


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def refuse_open_or_foreign(path: Path) -> None:
    """Whoever may write to a home says what is ended and with which key things are sealed."""
    try:
        check_folder(path)
    except NotPrivate as error:
        raise StartError(f"{error}, or choose another folder with QUARTERDECK_HOME") from None


def _opened(home: Home, flags: int) -> int:
    refuse_open_or_foreign(home.path)
    try:
        return os.open(home.lock_file, flags | os.O_CLOEXEC, 0o600)
    except PermissionError:
        raise StartError(
            f"{home.path} belongs to another user: run this as that user, or choose another folder with QUARTERDECK_HOME"
        ) from None


def holds_lock(home: Home, pid: int) -> bool:
    """Whether that process has the lock of this home open, as its `up` has for as long as it runs."""
    try:
        return any(Path(file.path).samefile(home.lock_file) for file in psutil.Process(pid).open_files())
    except (OSError, psutil.Error):
        return False


def ensure_key(home: Home) -> None:
    """Create the installation key of this home (0600) unless it exists. A start killed in between leaves none or all of it."""
    target = home.path / KEY_FILE
    if target.exists():
        return
    write_private(target, secrets.token_urlsafe(32) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace the file (mode 0600) at once: a reader, or a start after a crash, sees the old text or the new one."""
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(partial).rename(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def mark_of(home: Home) -> dict[str, object]:
    """What a record says of the folder that it is of: a copy of the home has a copy of the record."""
    return {"home": asdict(place_of(home.path))}


def read_record(home: Home) -> dict[str, object] | None:
    """The record, or None where nothing was started yet or it is not readable as one.

    It says which processes are ended: one that others can have written raises StartError.
    """
    try:
        record = json.loads(read_private(home.run_record))
    except NotPrivate as error:
        raise StartError(str(error)) from None
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
