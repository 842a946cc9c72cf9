"""A running `quarterdeck up`, ours and whole, whose home is on a small disk of its own that a test can fill."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from tests.embedded.driver import TIMEOUT_S, Up, environment
from tests.needs import need, need_program

HOME = Path("/mnt/home")
"""In a mount name space of its own: `up` and what it starts see a small file system below /mnt, and nobody else does."""
MOUNTED = 'mount -t tmpfs -o size="$1",mode=0755 small /mnt && shift && exec "$@"'
SMALL_DISK, SMALL_DISK_MB = "SMALL_DISK", 480
"""The variable that names one which is there already: who may not mount has to be given it."""
FILLER, BALLAST = "filler", "ballast"
CHUNKS = (1 << 20, 4096)


def need_small_disk() -> None:
    if SMALL_DISK in os.environ:
        return
    unshare = need_program("unshare", "apt-get install util-linux")
    tried = subprocess.run([unshare, "--mount", "true"], capture_output=True, check=False)
    need(present=tried.returncode == 0, what="root that may mount", install="run the tests as root, privileged")


@dataclass
class SmallDisk:
    run: Up

    @property
    def _filler(self) -> Path:
        return self.run.home.parent / FILLER

    def fill(self) -> None:
        """To the last block."""
        with self._filler.open("ab", buffering=0) as file:
            for size in CHUNKS:
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def free(self) -> None:
        self._filler.unlink()

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """To its end, where the small disk is seen."""
        entered = () if SMALL_DISK in os.environ else ("nsenter", f"--mount=/proc/{self.run.process.pid}/ns/mnt")
        return subprocess.run(
            [*entered, *words],
            env={**self.run.env, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}, cwd="/",
            capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip


@contextmanager
def on_a_small_disk(folder: Path, size_mb: int = SMALL_DISK_MB) -> Iterator[SmallDisk]:
    """`up` on a disk of its own. One that was given has to be empty, and is empty again afterwards."""
    output, up = folder / "up.txt", (sys.executable, "-m", "workers", "up")
    given = Path(os.environ[SMALL_DISK]) if SMALL_DISK in os.environ else None
    home = given / "home" if given else HOME
    mounted = ("unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNTED, "sh", f"{size_mb}m")
    env = environment(home)
    if given:
        (given / BALLAST).write_bytes(bytes((SMALL_DISK_MB - size_mb) << 20))
    with output.open("w") as file:
        process = subprocess.Popen(
            up if given else (*mounted, *up), env=env, cwd="/", stdout=file, stderr=subprocess.STDOUT, text=True
        )
    try:
        yield SmallDisk(Up(home if given else Path(f"/proc/{process.pid}/root{HOME}"), env, process, output))
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(TIMEOUT_S)
        if given:
            for left in given.iterdir():
                rmtree(left) if left.is_dir() else left.unlink()
