"""The unprivileged account that PostgreSQL needs when the stack is run by root, and which files that account can reach."""

import fcntl
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workers.embedded.errors import StartError

OWN_USER = "quarterdeck-postgres"
"""Of nothing else: what runs as `nobody`, or as a user of other programs, could read and change the database's files."""

NEW_USER = (
    "useradd",
    "--system",
    "--user-group",
    "--no-create-home",
    "--home-dir",
    "/nonexistent",
    "--shell",
    "/usr/sbin/nologin",
)
LOCK_FILE = Path("/etc/.pwd.lock")
"""That of lckpwdf(3), root's alone. Others lock it with fcntl(2): a lock of flock(2) is another one and holds nobody else up."""

SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
NEW_USER_TIMEOUT_S = 30.0
"""useradd(8) waits up to 15 s for another one that changes the list of users."""


@dataclass(frozen=True)
class Account:
    uid: int
    gid: int

    def can_reach(self, path: Path) -> bool:
        """Whether every folder above `path` lets this account through (permission bits; access lists are not read)."""
        return all(self._may_search(folder.stat()) for folder in path.absolute().parents)

    def can_execute(self, path: Path) -> bool:
        return self.can_reach(path) and self._may_search(path.stat())

    def _may_search(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def account_for_postgres() -> Account | None:
    """None when we may run it as ourselves; for root, as which PostgreSQL refuses to run, a user made for it at the first call.

    It has to be one with a name: initdb(1) looks it up. Raises StartError where there is none and none can be made, and where
    others have its uid too (docs/decisions/0055-a-user-of-its-own.md).
    """
    if os.geteuid() != 0:
        return None
    entry = _entry() or _made()
    same = sorted({other.pw_name for other in pwd.getpwall() if other.pw_uid == entry.pw_uid} - {OWN_USER})
    if entry.pw_uid == 0 or same:
        raise StartError(
            f"the uid of the user `{OWN_USER}` is that of {', '.join(same) or 'root'} too: give it one of its own"
        )
    return Account(entry.pw_uid, entry.pw_gid)


def _entry() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(OWN_USER)
    except KeyError:
        return None


def _made() -> pwd.struct_passwd:
    command = [*NEW_USER, OWN_USER]
    try:
        with _one_at_a_time():
            entry = _entry()  # another `up` may have been first
            if entry is None:
                reason = _run(command)
                entry = _entry()
    except OSError as error:
        reason, entry = error.strerror or type(error).__name__, None
    if entry is None:
        raise StartError(
            f"PostgreSQL does not run as root, and the user `{OWN_USER}` could not be made ({reason}): "
            f"run as a normal user, or `{' '.join(command)}`"
        )
    return entry


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """useradd(8) looks for the name before it locks: two at once make two users of one name. Raises OSError."""
    descriptor = os.open(LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _run(command: Sequence[str]) -> str:
    """What it complained about."""
    program = shutil.which(command[0], path=SYSTEM_PATH)
    if program is None:
        return f"there is no `{command[0]}`"
    try:
        result = subprocess.run(
            [program, *command[1:]], capture_output=True, text=True, check=False, timeout=NEW_USER_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return "it took too long"
    return next(iter(result.stderr.strip().splitlines()), f"exit status {result.returncode}")[:200]
