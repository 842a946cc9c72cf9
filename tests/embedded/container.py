"""A root as a container may have: a uid without an entry in /etc/passwd, few files, a home that is read-only, a small /tmp.

The processes have a process list of their own, and see the file system as it is but for those two folders.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.embedded.driver import ROOT
from tests.embedded.small_disk import SMALL_DISK, SMALL_DISK_MB
from tests.needs import need

UID = 12_345
OPEN_FILES = 64
TMP_MB = 50
NAMESPACES = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
TRIAL_TIMEOUT_S = 30.0


def need_namespaces() -> None:
    need(present=_has_namespaces(), what="user namespaces", install="sysctl kernel.unprivileged_userns_clone=1")


@contextmanager
def container() -> Iterator["Container"]:
    """Skips the test where there are no namespaces for us."""
    need_namespaces()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="quarterdeck-container-") as folder:
        yield Container(Path(folder))


class Container:
    """`volume` is a folder that is there inside and outside, and survives what ran."""

    def __init__(self, folder: Path) -> None:
        self._read_only, self.volume = folder / "home", folder / "volume"
        self._read_only.mkdir()
        self.volume.mkdir()

    def argv(self, command: Sequence[str]) -> list[str]:
        return [*NAMESPACES, str(Path(__file__).with_suffix(".sh")), str(self._read_only), *command]

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        needed = {ROOT, Path(sys.prefix), Path(sys.base_prefix)}
        kept = [str(path) for path in sorted(needed) if path.is_relative_to("/tmp")]
        ours = {"KEPT": " ".join(kept), "ROOT": str(ROOT), "TMP_MB": str(TMP_MB), "OPEN_FILES": str(OPEN_FILES)}
        disk = {SMALL_DISK: str(self.volume / "small"), f"{SMALL_DISK}_MB": str(SMALL_DISK_MB)}
        theirs = {"HOME": str(self._read_only), "CONTAINER_UID": str(UID), "PYTHONDONTWRITEBYTECODE": "1"}
        return {**variables, **ours, **disk, **theirs}

    def run(
        self, command: Sequence[str], variables: Mapping[str, str], timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(command), env=self.environment(variables), capture_output=True, text=True, check=False,
            timeout=timeout_s,
        )  # fmt: skip


@cache
def _has_namespaces() -> bool:
    try:
        trial = [*NAMESPACES, "unshare", "--user", f"--map-user={UID}", "true"]
        return subprocess.run(trial, check=False, timeout=TRIAL_TIMEOUT_S, env=dict(os.environ)).returncode == 0
    except OSError:
        return False
