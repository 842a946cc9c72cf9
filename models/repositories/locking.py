"""Reading a row in order to change it: the only place where a repository locks."""

from typing import TypeVar

from sqlalchemy import Select

S = TypeVar("S", bound=Select)  # type: ignore[type-arg]  # the select's own type comes back, whatever it selects


def locked(statement: S, *, refers: bool = False, skip_locked: bool = False) -> S:
    """The select, locking what it finds until the transaction ends, and reading it as it is once the lock is held.

    A session knows each row once: without `populate_existing` a row that it had read before the lock comes back as it was then,
    and whoever decides by that decides by the past. `refers` lets other transactions refer to the row meanwhile (FOR NO KEY
    UPDATE): owners and commands lock an instance so, for a registering agent inserts rows that refer to it.
    """
    return statement.with_for_update(key_share=refers, skip_locked=skip_locked).execution_options(
        populate_existing=True
    )
