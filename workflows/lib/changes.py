"""What an owner may change of its row: the fields of its projection that a phase decides on."""

from collections.abc import Mapping
from typing import TypedDict

from models.contracts.approvals import Question
from models.contracts.operations import ActionNote, OperationChange
from models.domain.operations import OperationStatus


class OwnerChange(TypedDict, total=False):
    """Keyword arguments of an owner's `project` that every kind has; a kind adds its own, with the meaning that its projection
    gives them.

    The contract itself ignores a field that it does not know, since a newer worker may send one; a misspelt field would be lost
    in silence there, and with it the end of a bill. So the names are checked where a change is made: by the type checker, and by
    `refuse_unknown` when it runs.
    """

    operations: list[OperationChange]
    actions: list[ActionNote]
    questions: list[Question]
    settles_due: bool


def refuse_unknown(change: Mapping[str, object], kind: type) -> None:
    """`kind` is the owner's TypedDict of changes.

    Raises TypeError: in a workflow that fails the task, which is tried again until the mistake is mended.
    """
    unknown = change.keys() - kind.__annotations__.keys()
    if unknown:
        raise TypeError(f"a projection has no {', '.join(sorted(unknown))}")


def failed(kind: str, code: str, message: str) -> OperationChange:
    """The end of the open operations of a kind, and why."""
    return OperationChange(kind=kind, status=OperationStatus.FAILED, error_code=code, error_message=message)
