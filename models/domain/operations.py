"""Operations: what was asked for, and how far it is. One row per accepted command (DESIGN rule 4)."""

from enum import StrEnum

from models.base.errors import IllegalTransition


class OperationStatus(StrEnum):
    PENDING = "pending"  # accepted and committed; its owner has not begun
    RUNNING = "running"
    WAITING_APPROVAL = "waiting_approval"  # a person is asked (models/domain/approvals.py); then running again
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"  # given up before its end, by its own cancel or by a later command


O = OperationStatus  # noqa: E741  (a one-letter table alias, local to this module)

NEXT: dict[OperationStatus, frozenset[OperationStatus]] = {
    O.PENDING: frozenset({O.RUNNING, O.WAITING_APPROVAL, O.SUCCEEDED, O.FAILED, O.CANCELLED}),
    O.RUNNING: frozenset({O.WAITING_APPROVAL, O.SUCCEEDED, O.FAILED, O.CANCELLED}),
    O.WAITING_APPROVAL: frozenset({O.RUNNING, O.FAILED, O.CANCELLED}),
    O.SUCCEEDED: frozenset(),
    O.FAILED: frozenset(),
    O.CANCELLED: frozenset(),
}

OPEN = frozenset({O.PENDING, O.RUNNING, O.WAITING_APPROVAL})


def advance(current: OperationStatus, to: OperationStatus) -> OperationStatus:
    """`to`, if the table allows the move. Raises IllegalTransition."""
    if to not in NEXT[current]:
        raise IllegalTransition(
            f"an operation that is {current} cannot become {to}", details={"from": current.value, "to": to.value}
        )
    return to
