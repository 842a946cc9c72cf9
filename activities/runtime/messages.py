"""A message to a workflow is one argument that was sealed: a start, a signal or an update without one is refused.

The codec sees payloads, and none where there is none: a signal without its argument, or with `null` for it, would reach a handler
that cannot have meant it, raise there, and hold the workflow in a task that fails for ever.
"""

from collections.abc import Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.bridge.proto.workflow_activation import WorkflowActivation, WorkflowActivationJob
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.runtime.refusal import NULL_ENCODING, refused


class OneArgumentRunner(SandboxedWorkflowRunner):
    """The sandbox, with every message looked at before the workflow sees it."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return _Guarded(super().create_instance(det))


class _Guarded(WorkflowInstance):
    """Passes everything on. It depends on the message alone, so a replay sees what was seen at first."""

    __slots__ = ("_inner",)

    def __init__(self, inner: WorkflowInstance) -> None:
        self._inner = inner

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        for job in act.jobs:
            refuse_empty(job)
        return self._inner.activate(act)

    def get_serialization_context(self, *arguments: Any, **named: Any) -> Any:
        return self._inner.get_serialization_context(*arguments, **named)

    def get_external_store_context(self, *arguments: Any, **named: Any) -> Any:
        return self._inner.get_external_store_context(*arguments, **named)

    def get_info(self) -> Any:
        return self._inner.get_info()

    def get_thread_id(self) -> int | None:
        return self._inner.get_thread_id()


def refuse_empty(job: WorkflowActivationJob) -> None:
    """Puts a refused payload in the place of arguments that are not exactly one, or that are null."""
    match job.WhichOneof("variant"):
        case "initialize_workflow":
            arguments = job.initialize_workflow.arguments
        case "signal_workflow":
            arguments = job.signal_workflow.input
        case "do_update":
            arguments = job.do_update.input
        case _:
            return
    if not _is_one_value(arguments):
        del arguments[:]
        arguments.append(refused("a message is exactly one sealed argument"))


def _is_one_value(arguments: Sequence[Payload]) -> bool:
    return len(arguments) == 1 and arguments[0].metadata.get("encoding") != NULL_ENCODING
