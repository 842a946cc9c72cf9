"""A wall clock of its own for one process, which can be set while it runs. What measures (the monotonic clock) is left alone."""

import subprocess
from pathlib import Path

from tests.needs import need_program

INSTALL = "apt-get install faketime"


class ShiftedClock:
    """`environment` is for the process; every program that it starts has the same clock."""

    def __init__(self, file: Path) -> None:
        self._file = file
        program = need_program("faketime", INSTALL)
        shown = subprocess.run([program, "-m", "-f", "+0s", "printenv", "LD_PRELOAD"], capture_output=True, check=True)
        self.environment = {
            "LD_PRELOAD": shown.stdout.decode().strip(),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",  # or it would look at the file every ten seconds
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",  # nothing of it stays in memory after a SIGKILL
        }

    def shift(self, hours: int) -> None:
        """From now on, also in the midst of its life. Replaced, not written to: nobody reads half of it."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{hours * 3600:+d}\n")
        new.replace(self._file)
