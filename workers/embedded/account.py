"""The unprivileged account that PostgreSQL needs when the stack is run by root, and which files that account can reach."""

import fcntl
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workers.embedded import named_exec
from workers.embedded.errors import StartError
from workers.embedded.finding import Finding

WITHOUT_A_NAME = "PostgreSQL's initdb needs a user with a name, and this one has no entry in /etc/passwd"
GIVE_A_NAME = "add an entry for it, run as a user that has one, or set QUARTERDECK_DATABASE_URL"
NAMESPACE_TIMEOUT_S = 10.0

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
        return self.first_closed(path) is None

    def first_closed(self, path: Path) -> Path | None:
        """The outermost folder above `path` that does not let this account through. Raises OSError, as `can_reach` does."""
        above = reversed(path.absolute().parents)
        return next((folder for folder in above if not self._has(stat.S_IXOTH, folder.stat())), None)

    def can_read(self, path: Path) -> bool:
        """A file: read it, and run it where its owner can. A folder: see what is in it. Raises OSError."""
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            return True  # what it points to counts
        runs = stat.S_IXOTH if status.st_mode & stat.S_IXUSR else 0
        return self._has(stat.S_IROTH | runs, status)

    def _has(self, rights: int, status: os.stat_result) -> bool:
        """`rights` as the bits of others."""
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return status.st_mode >> shift & rights == rights


def known_account() -> Account | None:
    """Whom PostgreSQL would run as, without making anything: None for ourselves, and where root has no such user yet."""
    entry = _entry() if os.geteuid() == 0 else None
    return None if entry is None else Account(entry.pw_uid, entry.pw_gid)


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


def named_argv(argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` under a name where we have none ourselves; otherwise as it is. Raises StartError."""
    if has_a_name():
        return list(argv)
    try:
        somebody = next(entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0)
    except StopIteration:
        raise StartError(f"{WITHOUT_A_NAME}: {GIVE_A_NAME}") from None
    return [sys.executable, "-I", "-S", named_exec.__file__, str(somebody), "--", *argv]


def has_a_name() -> bool:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True


def check_name() -> Iterator[Finding]:
    """Nothing to be said where we have one."""
    if has_a_name():
        return
    try:
        subprocess.run(named_argv(["/bin/true"]), check=True, timeout=NAMESPACE_TIMEOUT_S)
    except (StartError, OSError, subprocess.SubprocessError):
        yield Finding("user", ok=False, text=WITHOUT_A_NAME, remedy=GIVE_A_NAME[0].upper() + GIVE_A_NAME[1:])
    else:
        yield Finding("user", ok=True, text=f"uid {os.geteuid()} has no name, and gets one where PostgreSQL needs it")
