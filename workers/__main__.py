"""`python -m workers COMMAND`: everything that runs on a server. `quarterdeck` hands these commands over to it.

Each command imports what it needs when it is chosen, so that `doctor` works where another one cannot even be imported.
"""

import argparse
import gc
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import NoReturn

NOT_READ, CANNOT_START = 1, 2
OUR_PACKAGES = frozenset({"api", "workflows", "activities", "delivery", "workers", "models", "cli", "simcloud", "node"})
EXPECTED = frozenset({"SettingsError", "StartError", "TemporalUnreachable", "OperationalError"})
"""Failures whose message a person can act on. By name, since their modules may not have been importable."""

Command = Callable[[argparse.Namespace], int]


def _up(_options: argparse.Namespace) -> int:
    from models.base.signals import ending_when_told

    with ending_when_told():
        from models.settings import load_settings
        from workers.embedded.up import up

        return up(load_settings())


def _status(options: argparse.Namespace) -> int:
    from models.settings import load_settings
    from workers.embedded.status import status

    return status(load_settings(), as_json=options.json)


def _down(options: argparse.Namespace) -> int:
    from models.settings import load_settings
    from workers.embedded.down import down

    return down(load_settings(), instances=options.instances, as_json=options.json)


def _doctor(options: argparse.Namespace) -> int:
    from workers.embedded.doctor import doctor

    return doctor(as_json=options.json, left_out=options.left_out)


def _backup(options: argparse.Namespace) -> int:
    from models.settings import load_settings
    from workers.embedded.backup import backup

    return backup(load_settings(), options.file, as_json=options.json)


def _restore(options: argparse.Namespace) -> int:
    from models.settings import load_settings
    from workers.embedded.restore import restore

    return restore(load_settings(), options.file, as_json=options.json)


def _migrate(_options: argparse.Namespace) -> int:
    from models.settings import load_settings
    from workers.migrate import migrate

    migrate(load_settings())
    return 0


COMMANDS: dict[str, tuple[Command, str]] = {
    "up": (_up, "run the whole stack in the foreground"),
    "status": (_status, "what of the stack runs"),
    "down": (_down, "stop the stack of this home"),
    "doctor": (_doctor, "check this machine and this configuration"),
    "backup": (_backup, "save this home to a file, while the stack runs or not"),
    "restore": (_restore, "make an empty home what a backup was"),
    "migrate": (_migrate, "bring the database to this version"),
}
PROGRAMS: dict[str, tuple[str, str]] = {
    "worker": ("workers.worker", "run a worker process"),
    "api": ("api.__main__", "run the API"),
    "bootstrap": ("workers.bootstrap", "seeds, organization, superadmin, API key"),
    "machines": ("workers.fleet.machines", "machines at providers that belong to nobody, and the way to end one"),
    "record": ("workers.record", "record workflow histories for the replay tests"),
}
"""Programs with options of their own: `main(arguments) -> int` of the module is called."""


def main(arguments: Sequence[str] | None = None) -> int:
    left_out = _settle()
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without a character gets `?`, not a traceback
    try:
        if words and words[0] in PROGRAMS:
            return int(_loaded(PROGRAMS[words[0]][0]).main(words[1:]))
        options = _parser().parse_args(words, argparse.Namespace(left_out=left_out))
        return _read_to_its_end(COMMANDS[options.command][0], options)
    except _WrongUsage as error:
        return _refuse(str(error), "USAGE", as_json=as_json, before=error.usage)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in OUR_PACKAGES:
            raise
        return _refuse(
            f"{missing} is not installed: run `make clean up`; `quarterdeck doctor` lists everything missing",
            "MISSING_DEPENDENCY",
            as_json=as_json,
        )
    except Exception as error:
        if EXPECTED.isdisjoint(kind.__name__ for kind in type(error).__mro__):
            raise
        return _refuse(str(error).strip().splitlines()[0], "CANNOT_START", as_json=as_json)


def _settle() -> dict[str, str]:
    """See `models.base.foreign_variables`, of which there may be another one on the way to ours."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from models.base import foreign_variables

    del sys.path[0]
    return foreign_variables.settle()


def _read_to_its_end(command: Command, options: argparse.Namespace) -> int:
    """The exit status of the command; 1 where nobody read all that it said (`quarterdeck status | head -1`)."""
    try:
        status = command(options)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still in the buffer at the end
        return NOT_READ
    return status


def _loaded(module: str) -> ModuleType:
    """The program's module. What is loaded stays for good: to look for garbage in it again and again takes a fifth of the time
    that a program needs to start.
    """
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        gc.freeze()
        gc.enable()


def _refuse(reason: str, code: str, *, as_json: bool, before: str = "") -> int:
    """Says why on standard error; with `--json` in the shape that every command of `quarterdeck` has (docs/cli.md)."""
    if as_json:
        ours_alone: dict[str, object] = {
            "status": None,
            "request_id": None,
            "operation_id": None,
            "details": {},
        }  # the API had no part in it
        document = {"error": reason, "code": code, **ours_alone, "exit_code": CANNOT_START}
        sys.stderr.write(json.dumps(document, separators=(",", ":")) + "\n")
    else:
        sys.stderr.write(f"{before}quarterdeck: {reason}\n")
    return CANNOT_START


class _WrongUsage(Exception):
    def __init__(self, message: str, usage: str) -> None:
        super().__init__(message)
        self.usage = usage


class _Parser(argparse.ArgumentParser):
    """One that leaves it to `main` to say what is wrong."""

    def error(self, message: str) -> NoReturn:
        raise _WrongUsage(message, self.format_usage())


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="quarterdeck", description="What runs on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, text) in (COMMANDS | PROGRAMS).items():
        command = commands.add_parser(name, help=text, description=text)
        if name in {"status", "down", "doctor", "backup", "restore"}:
            command.add_argument("--json", action="store_true", help="as JSON")
        if name in {"backup", "restore"}:
            command.add_argument("file", type=Path, metavar="FILE", help="the backup")
        if name == "down":
            command.add_argument(
                "--instances", action="store_true", help="end the served instances of this machine too"
            )
    return parser


if __name__ == "__main__":
    from models.base.leaving import leave

    leave(main())
