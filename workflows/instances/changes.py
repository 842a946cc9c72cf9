"""What an owner may change of its row: the fields of a `Projection` that a phase decides on."""

from typing import TypedDict

from models.contracts.instances import ActionNote, OperationChange
from models.domain.instances.machines import Ended, Machine, Volume
from models.domain.instances.progress import Step
from models.domain.instances.state import InstanceStatus


class Change(TypedDict, total=False):
    """Keyword arguments of `Owner.project`, with the meaning that `Projection` gives them.

    The contract itself ignores a field that it does not know, since a newer worker may send one; a misspelt field would be lost
    in silence there, and with it the end of a bill. So the names are checked where a change is made: by the type checker, and by
    `refuse_unknown` when it runs.
    """

    status: InstanceStatus | None
    reason: str | None
    steps: list[Step]
    mark_silent: bool
    begin_boot: bool
    machine: Machine | None
    found: list[Machine]
    volumes: list[Volume]
    ended: list[Ended]
    error_code: str | None
    error_message: str | None
    clear_error: bool
    deletion_reason: str | None
    deleted_by_provider: bool
    heal_attempts: int | None
    operations: list[OperationChange]
    actions: list[ActionNote]


def refuse_unknown(change: Change) -> None:
    """Raises TypeError: in a workflow that fails the task, which is tried again until the mistake is mended."""
    unknown = change.keys() - Change.__annotations__.keys()
    if unknown:
        raise TypeError(f"a projection has no {', '.join(sorted(unknown))}")
