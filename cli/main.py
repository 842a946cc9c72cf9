"""The console script. It needs no installed package itself, so that it can hand over to a program, or say what is missing."""

import json
import signal
import sys
from io import TextIOWrapper
from pathlib import Path
from types import FrameType

from cli.failures import CommandFailed, ExitCode, wrong_usage
from cli.handover import PROGRAMS, hand_over


def main() -> None:
    """Ends the process."""
    _settle()
    arguments = sys.argv[1:]
    if arguments and arguments[0] in PROGRAMS:
        hand_over(arguments[0], arguments[1:])
    as_json = "--json" in arguments[: arguments.index("--") if "--" in arguments else None]
    signal.signal(signal.SIGTERM, _end)
    if not all(_is_text(argument) for argument in arguments):
        raise SystemExit(_refused(wrong_usage("an argument is not valid text in this locale"), as_json=as_json))
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without a character gets `?`, not a traceback
    try:
        from cli.application import run  # noqa: PLC0415  (it needs what may be missing)

        code = run(arguments, as_json=as_json)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in {"cli", "models"}:
            raise
        failure = CommandFailed(
            f"{missing} is not installed: run `make clean up`; `quarterdeck doctor` lists everything missing",
            code="MISSING_DEPENDENCY",
            exit_code=ExitCode.USAGE,
        )
        code = _refused(failure, as_json=as_json)
    raise SystemExit(code)


def _settle() -> None:
    """See `models.base.foreign_variables`, of which there may be another one on the way to ours."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from models.base import foreign_variables  # noqa: PLC0415

    del sys.path[0]
    foreign_variables.settle()


def _refused(failure: CommandFailed, *, as_json: bool) -> int:
    text = json.dumps(failure.as_json(), separators=(",", ":")) if as_json else f"Error: {failure.message}"
    sys.stderr.write(f"{text}\n")
    return failure.exit_code


def _end(signal_number: int, _frame: FrameType | None) -> None:
    """An exit that unwinds: a progress bar gives the cursor back."""
    raise SystemExit(128 + signal_number)


def _is_text(argument: str) -> bool:
    """Bytes that are no characters arrive as lone surrogates, which no JSON document can carry."""
    return not any("\ud800" <= character <= "\udfff" for character in argument)
