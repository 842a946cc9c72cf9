"""The commands that talk to the API: which words there are, and which module answers each."""

from typing import Any

import typer
from typer.core import TyperGroup

from cli import commands
from cli.command_group import CommandGroup
from cli.failures import ExitCode, wrong_usage
from cli.handover import PROGRAMS, SUMMARIES, hand_over
from cli.screen import Screen
from models.base.listing import exported

WrongUsage: type[Exception] = typer.BadParameter.__mro__[1]
"""What every mistake in the arguments is: the UsageError of click, or of the copy of it that newer versions of typer carry."""


class InOrder(TyperGroup):
    """Lists commands as they were added: typer itself lists those that have commands of their own first."""

    def list_commands(self, ctx: Any) -> list[str]:  # the context is of the copy of click that typer carries
        found = super().list_commands(ctx)
        return sorted(found, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


ORDER: list[str] = []

app = typer.Typer(
    cls=InOrder,
    name="quarterdeck",
    help="The command post of an AI platform: machines, model serving and their bills.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 no valid key, 5 conflict, 6 budget, "
    "7 not watched to the end: the operation goes on.",
)

for _group in sorted(exported(commands, "COMMANDS", CommandGroup), key=lambda group: group.place):
    for _command in _group.commands:
        ORDER.append(_command.__name__)
        _below = _group.below.get(_command.__name__)
        if _below is None:
            app.command(_command.__name__)(_command)
            continue
        _with_commands = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
        _with_commands.callback()(_command)
        for _one in _below:
            _with_commands.command(_one.__name__.partition("_")[0])(_one)
        app.add_typer(_with_commands, name=_command.__name__)


def _listed(context: typer.Context) -> None:
    """For `--help` and completion only: `main` hands over before arguments are parsed."""
    hand_over(context.info_name or "", context.args)


for _name in PROGRAMS:
    app.command(_name, help=SUMMARIES[_name], add_help_option=False)(_listed)


def run(arguments: list[str], *, as_json: bool) -> int:
    """The exit code of a command. With `as_json` wrong usage is told as JSON, too."""
    if not as_json:
        app(arguments, prog_name="quarterdeck")
        return ExitCode.OK
    try:
        code = app(arguments, prog_name="quarterdeck", standalone_mode=False)
    except WrongUsage as error:
        failure = wrong_usage(error.format_message() if hasattr(error, "format_message") else str(error))
        Screen(as_json=True).failure(failure)
        return failure.exit_code
    except typer.Abort:
        return ExitCode.FAILURE
    return code if isinstance(code, int) else ExitCode.OK
