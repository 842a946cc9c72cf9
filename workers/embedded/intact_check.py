"""What `quarterdeck doctor` says of a home before `up` does: copied and in use elsewhere, half restored, without its database."""

import os
from collections.abc import Iterator

from models.base.private_files import NotPrivate
from models.settings import Settings
from workers.embedded import postgres_program
from workers.embedded.account import known_account
from workers.embedded.errors import StartError
from workers.embedded.finding import Finding
from workers.embedded.intact import refuse_half_a_home


def check_intact(settings: Settings) -> Iterator[Finding]:
    if not settings.home.is_dir():
        return
    try:
        refuse_half_a_home(settings, known_account())
    except (StartError, NotPrivate) as error:
        yield Finding("database of the home", ok=False, text=str(error))
    except OSError as error:
        yield Finding("database of the home", ok=False, text=error.strerror or type(error).__name__)
    else:
        yield Finding("database of the home", ok=True, text="it has one of its own, or will have")


def check_program() -> Iterator[Finding]:
    """For root: whether PostgreSQL's user can run the program, or a copy of it. What the next start mends is no problem."""
    if os.geteuid() != 0:
        return
    name, account = "postgres for its user", known_account()
    try:
        tree, copy = postgres_program.bundled_tree(), postgres_program.copied_tree()
        if account is None:
            yield Finding(name, ok=True, text="the first start makes its user")
        elif postgres_program.is_usable(tree, account):
            yield Finding(name, ok=True, text=str(tree))
        elif (closed := account.first_closed(postgres_program.REACHABLE_ROOT)) is not None:
            yield Finding(name, ok=False, text=f"cannot pass through {closed}", remedy=f"Run `chmod o+x {closed}`")
        elif not copy.exists():
            yield Finding(name, ok=True, text=f"the next start copies the program to {copy}")
        elif postgres_program.is_whole(tree, copy) and postgres_program.is_usable(copy, account):
            yield Finding(name, ok=True, text=str(copy))
        else:
            yield Finding(name, ok=True, text=f"{copy} is closed to it or not whole; the next start mends that")
    except StartError:
        return  # `check_services` says that it is not installed
    except OSError as error:
        yield Finding(name, ok=False, text=f"cannot be looked at: {error.strerror or type(error).__name__}")
