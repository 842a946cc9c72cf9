"""What a row says of what it waits for and what holds it, and since when (DESIGN rule 7)."""

from datetime import datetime
from typing import Protocol

from models.contracts.operations import Held, Waiting
from models.domain.sentences import wait_of_row


class Waits(Protocol):
    """The columns, of an object or of an operation on it."""

    waiting_on: str | None
    waiting_params: dict[str, object] | None
    waiting_since: datetime | None
    waiting_until: datetime | None


class Holds(Protocol):
    held_code: str | None
    held_since: datetime | None


def show_wait(row: Waits, waiting: Waiting | None, now: datetime) -> None:
    """`waiting_since` stays for as long as the row waits for the same."""
    code = waiting.code if waiting else None
    if code != row.waiting_on:
        row.waiting_on, row.waiting_since = code, now if code else None
    row.waiting_params = dict(waiting.params) if waiting and waiting.params else None
    row.waiting_until = waiting.until if waiting else None


def told_wait(row: Waits) -> dict[str, object] | None:
    """What an event says of it: whoever follows makes the sentence, or reads the rest."""
    if row.waiting_on is None:
        return None
    code, params = wait_of_row(row.waiting_on, row.waiting_params)
    return {"code": code, "params": params}


def show_hold(row: Holds, held: Held | None) -> None:
    row.held_code, row.held_since = (held.code, held.since) if held else (None, None)


def held_on(row: Holds) -> Held | None:
    """What the row says that it is held by."""
    return Held(code=row.held_code, since=row.held_since) if row.held_code and row.held_since else None
