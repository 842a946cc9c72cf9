"""The commands that talk to the API: which words there are, and which module answers each."""

import typer

from cli.commands import account, action_logs, chat, instances, model_catalog, operations
from cli.commands.handover import PROGRAMS, SUMMARIES, hand_over
from cli.failures import ExitCode, wrong_usage
from cli.screen import Screen

WrongUsage: type[Exception] = typer.BadParameter.__mro__[1]
"""What every mistake in the arguments is: the UsageError of click, or of the copy of it that newer versions of typer carry."""

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
