"""`python -m workers COMMAND`: everything that runs on a server. `quarterdeck` hands these commands over to it.

Each command imports what it needs when it is chosen, so that `doctor` works where another one cannot even be imported.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence

CANNOT_START = 2

Command = Callable[[argparse.Namespace], int]


def _up(_options: argparse.Namespace) -> int:
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

    return down(load_settings(), instances=options.instances)


def _doctor(options: argparse.Namespace) -> int:
    from workers.embedded.doctor import doctor

    return doctor(as_json=options.json)


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
    "migrate": (_migrate, "bring the database to this version"),
}
PROGRAMS: dict[str, tuple[str, str]] = {
    "worker": ("workers.worker", "run a worker process"),
    "api": ("api.__main__", "run the API"),
    "bootstrap": ("workers.bootstrap", "seeds, organization, superadmin, API key"),
    "record": ("workers.record", "record workflow histories for the replay tests"),
}
"""Programs with options of their own: `main(arguments) -> int` of the module is called."""


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words and words[0] in PROGRAMS:
            module, _ = PROGRAMS[words[0]]
            return int(importlib.import_module(module).main(words[1:]))
        options = _parser().parse_args(words)
        return COMMANDS[options.command][0](options)
    except ModuleNotFoundError as error:
        return _cannot_start(
            f"{error.name} is not installed: run `make up`, or `quarterdeck doctor` for everything missing"
        )
    except Exception as error:
        if not _is_expected(error):
            raise
        return _cannot_start(str(error).strip().splitlines()[0])


def _is_expected(error: Exception) -> bool:
    """Whether the message is one that a person can act on. By name, since their modules may not have been importable."""
    return any(kind.__name__ in {"SettingsError", "StartError", "OperationalError"} for kind in type(error).__mro__)


def _cannot_start(reason: str) -> int:
    sys.stderr.write(f"quarterdeck: {reason}\n")
    return CANNOT_START


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="quarterdeck", description="What runs on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, text) in (COMMANDS | PROGRAMS).items():
        command = commands.add_parser(name, help=text, description=text)
        if name in {"status", "doctor"}:
            command.add_argument("--json", action="store_true", help="as JSON")
        if name == "down":
            command.add_argument(
                "--instances", action="store_true", help="end the served instances of this machine too"
            )
    return parser


if __name__ == "__main__":
    sys.exit(main())
