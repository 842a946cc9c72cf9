"""What every command that talks to the API begins and ends with."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from cli.failures import CommandFailed, ExitCode
from cli.screen import Screen

if TYPE_CHECKING:
    from cli.api_client import Api

AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON instead of a table.")]
ApiUrl = Annotated[
    str | None,
    typer.Option(
        "--api-url",
        envvar="QUARTERDECK_API_URL",
        metavar="URL",
        help="Address of the API. Default: that of <home>/admin.json.",
    ),
]


@dataclass(frozen=True)
class Session:
    api: "Api"
    screen: Screen


@contextmanager
def opened(*, as_json: bool, api_url: str | None) -> Iterator[Session]:
    """A session with the API. Failures inside end the program: told on standard error, with their exit code."""
    screen = Screen(as_json=as_json)
    try:
        from cli.api_client import Api  # noqa: PLC0415  (an HTTP client is half of what `--help` would wait for)
        from cli.connection import locate  # noqa: PLC0415

        with Api(locate(api_url), screen.note) as api:
            yield Session(api, screen)
    except CommandFailed as failure:
        sys.stdout.flush()
        screen.failure(failure)
        raise typer.Exit(failure.exit_code) from None
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
