"""Asking a person before something is done; a script says beforehand that nobody is to be asked."""

import sys
from typing import Annotated

import typer

from cli.failures import CommandFailed, wrong_usage
from cli.session import Session

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def need_somebody(session: Session, deed: str, *, yes: bool) -> None:
    """Raises CommandFailed where nobody can answer, and nobody need not."""
    if not yes and (not sys.stdin.isatty() or session.screen.as_json):
        raise wrong_usage(f"to {deed} without being asked takes --yes", code="CONFIRMATION_REQUIRED")


def confirm(question: str, of: str) -> None:
    """Raises CommandFailed where the person does not want it done to what `of` names."""
    if not typer.confirm(question, default=False, err=True):
        raise CommandFailed(f"nothing was done to {of}", code="DECLINED")
