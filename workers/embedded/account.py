"""The unprivileged account that PostgreSQL needs when the stack is run by root, and which files that account can reach."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from workers.embedded.errors import StartError

UNPRIVILEGED = "nobody"


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
    """None when we may run it as ourselves; the unprivileged account for root, as which PostgreSQL refuses to run."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise StartError(
            f"PostgreSQL does not run as root and there is no user `{UNPRIVILEGED}`: run as a normal user"
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)
