"""What travels between an owner and the rest about the operations on what it owns. Ids and states; nothing private (rule 8)."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from models.domain.holds import HoldCode
from models.domain.operations import OperationStatus


class Command(BaseModel):
    """Signal: an operation on the resource was committed, or a decision that its owner has asked for. The row says what it is.

    `operation_id` is None for a decision that no operation waits for.
    """

    operation_id: UUID | None = None


class Reread(BaseModel):
    """Signal: the row may be another than the owner knows, or none any more: a database may have been restored."""


class Held(BaseModel):
    """What stands in an owner's way, and since when, by the clock of the database (DESIGN rule 7)."""

    code: Annotated[HoldCode | str, Field(union_mode="left_to_right")]
    """Or one of a family's."""
    since: datetime


class OpenOperation(BaseModel):
    """`kind` is one of its family's."""

    id: UUID
    kind: str
    status: OperationStatus


class OperationChange(BaseModel):
    """The end, or the beginning, of operations of a kind.

    `ids` are those that the owner knew when it decided; one asked for in between stays open and is the owner's next news.
    None means every open one: at the end of a resource nothing may stay open.
    """

    kind: str
    status: OperationStatus
    ids: list[UUID] | None = None
    error_code: str | None = None
    error_message: str | None = None


class ActionNote(BaseModel):
    """One line for the action log (contract/fleet.md 11.1)."""

    action_type: str
    failed: bool = False
    started_at: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None
    details: dict[str, str | int | float | bool | None] = {}


class Waiting(BaseModel):
    """What the owner waits for: a code of its family, and what the sentence about it names (DESIGN rule 7)."""

    code: str
    params: dict[str, str | int | float | bool | None] = {}
    until: datetime | None = None
