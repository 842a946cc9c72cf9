"""`python -m simcloud --port 8900 --db PATH`: run the simulated cloud in the foreground.

The API token is `QUARTERDECK_SIMCLOUD_TOKEN`, or the content of `--token-file`, which is made (0600) where it is missing.
Exit status: 0 after SIGTERM or SIGINT, 2 with one clear line where it cannot start.
"""

import argparse
import logging
import os
import secrets
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from simcloud.cloud import Pace
from simcloud.database import DatabaseInUse
from simcloud.open_files import allow_open_files
from simcloud.server import Configuration, run
from simcloud.signals import restore_signals

TOKEN_VARIABLE = "QUARTERDECK_SIMCLOUD_TOKEN"  # noqa: S105 - the name of a variable


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        configuration = Configuration(
            host=options.host,
            port=options.port,
            advertised_host=options.advertise_host or options.host,
            database_path=options.db,
            token=os.environ.get(TOKEN_VARIABLE) or _token(options.token_file or Path(f"{options.db}.token")),
            seed=options.seed,
            tick_s=options.tick_s,
            phase_s=options.phase_s,
            clock_skew_s=options.clock_skew_s,
            pace=Pace(options.build_s, options.rebuild_s, options.delete_s, options.preempted_shown_s),
        )
        restore_signals()
        allow_open_files()
        uvloop.run(run(configuration))
    except DatabaseInUse as error:
        return _refuse(str(error))
    except (OSError, sqlite3.Error) as error:
        return _refuse(f"cannot run on {options.host}:{options.port} with {options.db}: {error}")
    return 0


def _refuse(reason: str) -> int:
    print(f"simcloud: {reason}", file=sys.stderr)  # noqa: T201 - the one line a person reads
    return 2


def _token(path: Path) -> str:
    """The token in the file, made at the first call."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        token = path.read_text(encoding="ascii").strip()
        if not token:
            raise OSError(f"the token file {path} is empty") from None
        return token
    token = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token + "\n")
    return token


def _parser() -> argparse.ArgumentParser:
    pace = Pace()
    parser = argparse.ArgumentParser(prog="simcloud", description="A simulated cloud with a billing meter and faults.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback)")
    parser.add_argument("--port", type=int, default=8900, help="0 takes a free one; the ready line names it")
    parser.add_argument("--advertise-host", help="host that machines are said to answer on (default: --host)")
    parser.add_argument("--db", type=Path, required=True, help="SQLite file that holds everything")
    parser.add_argument("--token-file", type=Path, help="holds the API token (default: <db>.token)")
    parser.add_argument("--seed", type=int, default=0, help="of faults that name none, and of jitter")
    seconds = {
        "tick": (0.05, "how often the cloud looks what is due"),
        "build": (pace.build_s, "BUILD takes this long"),
        "rebuild": (pace.rebuild_s, "REBUILD takes this long"),
        "delete": (pace.delete_s, "DELETING takes this long"),
        "preempted-shown": (pace.preempted_shown_s, "how long a preempted machine is still shown"),
        "phase": (0.2, "each phase of an agent takes this long"),
        "clock-skew": (0.0, "how far the cloud's clock is ahead"),
    }
    for name, (default, text) in seconds.items():
        parser.add_argument(f"--{name}-s", type=float, default=default, help=f"{text} (seconds, default {default:g})")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    return parser


if __name__ == "__main__":
    sys.exit(main())
