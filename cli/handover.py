"""The commands that run an installation: their programs replace this one, so that signals and exit codes are theirs."""

import os
import sys
from typing import NoReturn

PROGRAMS = {
    "up": ("workers", "up"),
    "down": ("workers", "down"),
    "status": ("workers", "status"),
    "doctor": ("workers", "doctor"),
    "backup": ("workers", "backup"),
    "restore": ("workers", "restore"),
    "worker": ("workers", "worker"),
    "migrate": ("workers", "migrate"),
    "api": ("workers", "api"),
    "machines": ("workers", "machines"),
}
"""Command -> the module that `python -m` runs, and its first arguments."""

SUMMARIES = {
    "up": "Run the whole installation on this machine, in the foreground.",
    "down": "Stop a running `up`; --instances ends the served instances, too.",
    "status": "Show the parts of a running `up`.",
    "doctor": "Check what this machine lacks, and say what to do about it.",
    "backup": "Save this home to a file, while it runs or not.",
    "restore": "Make an empty home what a backup was.",
    "worker": "Run one worker process.",
    "migrate": "Bring the database to this version.",
    "api": "Run the API alone.",
    "machines": "Show machines at providers that belong to nobody; `machines end ID` ends one.",
}


def hand_over(command: str, arguments: list[str]) -> NoReturn:
    """Replaces this process. Arguments reach the program as they were given, `--help` included."""
    from models.base.foreign_variables import environment_of_a_part  # noqa: PLC0415  (`main` sees to it that it is ours)

    module, *first = PROGRAMS[command]
    sys.stdout.flush()
    sys.stderr.flush()
    # -P: a folder of the caller's that happens to be called `api` or `workers` must not be run in its place.
    command_line = [sys.executable, "-P", "-m", module, *first, *arguments]
    os.execve(sys.executable, command_line, environment_of_a_part(os.environ))  # noqa: S606
