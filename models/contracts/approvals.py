"""What an owner asks of a person, and how it hears the answer. Codes, ids and figures; nothing private (rule 8)."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from pydantic import BaseModel

from models.domain.approvals import ApprovalStatus, DecidedBy, Verdict

Params = dict[str, str | int | float | bool | None]


class Question(BaseModel):
    """What is asked, of whom, what it costs, until when, and what happens then (contract decision 33).

    `code` says what is asked, `params` are what its sentence names. It is asked once for an operation, or once of the resource
    where no operation is named: a second one asks by another code. `permission` is what whoever decides needs.
    """

    code: str
    params: Params = {}
    operation_id: UUID | None = None
    permission: str
    asker_may_approve: bool = False
    """Whether who ordered the operation may approve it: a confirmation rather than a second pair of eyes."""
    cost_eur: Decimal | None = None
    open_for_s: float
    on_deadline: Verdict = Verdict.REJECT


class ApprovalSeen(BaseModel):
    """One that was asked, as its owner reads it. `until` is by the clock of the database."""

    id: UUID
    code: str
    operation_id: UUID | None
    status: ApprovalStatus
    decided_by: DecidedBy | None = None
    until: datetime
