"""A message to a workflow is one argument that was sealed: a start, a signal or an update without one is refused.

The codec sees payloads, and none where there is none: a signal without its argument, or with `null` for it, would reach a handler
that cannot have meant it, raise there, and hold the workflow in a task that fails for ever.

An activity's result is one payload that was sealed, too, by the very activity. Whoever reaches Temporal can answer for an
activity: so he can say that it failed, and no more.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import RetryState
from temporalio.api.failure.v1 import ActivityFailureInfo, ApplicationFailureInfo, Failure
from temporalio.bridge.proto.activity_result import ActivityResolution
from temporalio.bridge.proto.workflow_activation import WorkflowActivation, WorkflowActivationJob
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails

from activities.runtime.converter import ACTIVITY_FIELD, MODEL_FIELD, said_by
from activities.runtime.refusal import CODE, NULL_ENCODING, is_refused, refused
from activities.runtime.sandbox import LoadedOnceRunner


class OneArgumentRunner(LoadedOnceRunner):
    """The sandbox, with every message looked at before the workflow sees it."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return _Guarded(super().create_instance(det))


class _Guarded(WorkflowInstance):
    """Passes everything on. It depends on the history alone, so a replay sees what was seen at first."""

    __slots__ = ("_contexts", "_inner", "_names_activities")

    def __init__(self, inner: WorkflowInstance) -> None:
        self._inner = inner
        self._contexts: dict[Any, Any] = {}
        """By command, and of which kind: each payload asks four times, and the sandbox compiles its answer anew every time. What
        they depend on changes in an activation only."""
        self._names_activities = False
        """Whether the run began since results name their activity: what it began with names its model."""

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        for job in act.jobs:
            if job.HasField("initialize_workflow"):
                self._names_activities = any(MODEL_FIELD in each.metadata for each in job.initialize_workflow.arguments)
            refuse_empty(job)
            fail_unsaid(job, self._runs() if self._names_activities else None)
        try:
            return self._inner.activate(act)
        finally:
            self._contexts.clear()

    def _runs(self) -> set[str]:
        """Whose activities may have spoken: those of this run, and of the one that it repeats where it was reset."""
        info = self._inner.get_info()
        return {info.run_id, info.original_execution_run_id}

    def get_serialization_context(self, command_info: Any) -> Any:
        return self._known(self._inner.get_serialization_context, command_info)

    def get_external_store_context(self, command_info: Any) -> Any:
        return self._known(self._inner.get_external_store_context, command_info)

    def _known(self, ask: Callable[[Any], Any], command: Any) -> Any:
        key = (ask.__name__, command and (command.command_type, command.command_seq))
        if key not in self._contexts:
            self._contexts[key] = ask(command)
        return self._contexts[key]

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


def fail_unsaid(job: WorkflowActivationJob, runs: Collection[str] | None) -> None:
    """Makes a failure of the activity out of a result that is absent, was refused, or was said by another activity.

    The workflow then does what it does about any failure. To convert a refused result would end it instead, and an absent one
    would pass for `None`. `runs`: in which of them the activity of that number may have said it; None where results do not tell.
    """
    if job.WhichOneof("variant") != "resolve_activity":
        return
    outcome = job.resolve_activity.result
    if outcome.WhichOneof("status") != "completed":
        return
    result = outcome.completed.result
    said = result.metadata.get(ACTIVITY_FIELD)
    is_its_own = runs is None or said in {said_by(run_id, str(job.resolve_activity.seq)) for run_id in runs}
    if not outcome.completed.HasField("result") or is_refused(result) or not is_its_own:
        outcome.CopyFrom(_failed("the result is refused: it is not what this activity has said"))


def _failed(why: str) -> ActivityResolution:
    cause = Failure(message=why, application_failure_info=ApplicationFailureInfo(type=CODE, non_retryable=True))
    info = ActivityFailureInfo(retry_state=RetryState.RETRY_STATE_NON_RETRYABLE_FAILURE)
    resolution = ActivityResolution()
    resolution.failed.failure.CopyFrom(Failure(message="Activity task failed", activity_failure_info=info, cause=cause))
    return resolution


def _is_one_value(arguments: Sequence[Payload]) -> bool:
    return len(arguments) == 1 and arguments[0].metadata.get("encoding") != NULL_ENCODING
