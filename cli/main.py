"""The command line: which words there are, and which module answers each."""

import signal
import sys
from io import TextIOWrapper
from types import FrameType

import typer

from cli.commands import account, action_logs, chat, instances, model_catalog, operations
from cli.commands.handover import PROGRAMS, SUMMARIES, hand_over

app = typer.Typer(
    name="quarterdeck",
    help="The command post of an AI platform: machines, model serving and their bills.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 no valid key, 5 conflict, 6 budget, "
    "7 not watched to the end: the operation goes on.",
)

app.command("deploy")(instances.deploy)
app.command("instances")(instances.instances)
app.command("instance")(instances.instance)
app.command("terminate")(instances.terminate)
app.command("reinstall")(instances.reinstall)
app.command("archive")(instances.archive)
app.command("operations")(operations.operations)
app.command("models")(model_catalog.models)
app.command("chat")(chat.chat)
app.command("logs")(action_logs.logs)
app.command("whoami")(account.whoami)


def _listed(context: typer.Context) -> None:
    """For `--help` and completion only: `main` hands over before arguments are parsed."""
    hand_over(context.info_name or "", context.args)


for _name in PROGRAMS:
    app.command(_name, help=SUMMARIES[_name], add_help_option=False)(_listed)


def main() -> None:
    """The console script. Ends the process."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in PROGRAMS:
        hand_over(arguments[0], arguments[1:])
    if not all(_is_text(argument) for argument in arguments):
        sys.stderr.write("Error: an argument is not valid text in this locale\n")
        raise SystemExit(2)
    signal.signal(signal.SIGTERM, _end)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without a character gets `?`, not a traceback
    app(arguments, prog_name="quarterdeck")


def _end(signal_number: int, _frame: FrameType | None) -> None:
    """An exit that unwinds: a progress bar gives the cursor back."""
    raise SystemExit(128 + signal_number)


def _is_text(argument: str) -> bool:
    """Bytes that are no characters arrive as lone surrogates, which no JSON document can carry."""
    return not any("\ud800" <= character <= "\udfff" for character in argument)
