"""An approval: what is asked, of whom, what it costs, until when, what happens then (contract decision 33)."""

from typing import Annotated, Any, Final, Self
from uuid import UUID

from pydantic import Field

from api.schemas.base import Eur, Moment, RequestModel, ResponseModel
from models.domain.approvals import ApprovalStatus, DecidedBy, Verdict
from models.repositories.approval_decisions import Decision
from models.tables.approvals import Approval

LONGEST_COMMENT = 2_000


class DecisionWrite(RequestModel):
    """`comment` is for whoever reads the approval later; it stays there."""

    comment: Annotated[str | None, Field(max_length=LONGEST_COMMENT)] = None

    def decision(self, verdict: Verdict) -> Decision:
        return Decision(verdict, self.comment)


UNEXPLAINED: Final = DecisionWrite()
"""A request without a body."""


class OperationDecisionWrite(DecisionWrite):
    """`approval_id` is the one that was read before it was decided; where an operation has asked for several it must be named."""

    approval_id: UUID | None = None


OF_THE_ONLY_ONE: Final = OperationDecisionWrite()
"""A request without a body."""


class ApprovalRead(ResponseModel):
    """`code` and `params` say what is asked; `permission` is what whoever decides needs, and another person than
    `asked_for_user_id` has to approve it where `asker_may_approve` is false. Where nobody decides until `until`, `on_deadline` is
    taken for decided.
    """

    id: UUID
    status: ApprovalStatus
    code: str
    params: dict[str, Any]
    cost_eur: Eur | None
    permission: str
    asker_may_approve: bool
    asked_for_user_id: UUID | None
    asked_at: Moment
    until: Moment
    on_deadline: Verdict
    resource_kind: str
    resource_id: UUID
    operation_id: UUID | None
    decided_by: DecidedBy | None
    decided_by_user_id: UUID | None
    decided_at: Moment | None
    comment: str | None

    @classmethod
    def of(cls, row: Approval) -> Self:
        return cls(**{name: getattr(row, name) for name in cls.model_fields})
