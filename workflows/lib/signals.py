"""What every owner hears. Both are hints that its row is to be read again, so that one lost, late or repeated changes nothing."""

from typing import Any

from temporalio import workflow

from models.contracts.operations import Command, Reread
from workflows.lib.owner import Owner


class OwnerSignals:
    """For the workflow class of an owner; a kind that hears of edges adds a signal of its own, which calls `owner.hear()`."""

    owner: Owner[Any, Any]
    """Made in the workflow's `@workflow.init`."""

    @workflow.signal
    def command(self, command: Command) -> None:
        self.owner.hear_command(command.operation_id)

    @workflow.signal
    def reread(self, _again: Reread) -> None:
        self.owner.hear()
