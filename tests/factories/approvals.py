"""Approvals, as rows that nobody has written yet."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from models.base.clock import utc_now
from models.base.ids import new_id
from models.domain.approvals import Verdict
from models.tables.approvals import Approval
from models.tables.operations import Operation


def approval(of: Operation, **columns: Any) -> Approval:
    """One that is asked for the operation, for an hour."""
    defaults: dict[str, Any] = {
        "organization_id": of.organization_id,
        "resource_kind": of.resource_kind,
        "resource_id": of.resource_id,
        "operation_id": of.id,
        "code": "BREAK_TOY",
        "params": {"size": 3},
        "permission": "instances:write",
        "asker_may_approve": False,
        "asked_for_user_id": of.requested_by_user_id,
        "asked_at": utc_now(),
        "until": utc_now() + timedelta(hours=1),
        "on_deadline": Verdict.REJECT,
    }
    return Approval(id=new_id(), **{**defaults, **columns})
