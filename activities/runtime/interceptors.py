"""The interceptors of every worker and client, outermost first: request context, crash point, failure translation."""

import logging
import traceback
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from pydantic import TypeAdapter
from temporalio import activity, client, worker
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.workflow import ActivityHandle, ChildWorkflowHandle

from activities.runtime.context import RequestContext, bound_context, current_context, set_context
from activities.runtime.crash import CRASH_POINTS, crash_point
from activities.runtime.failures import to_application_error
from models.base.errors import AppError
from models.base.ids import new_id

logger = logging.getLogger(__name__)

HEADER: Final = "quarterdeck-request"
_AS_JSON: Final = TypeAdapter(RequestContext)


class FailureTranslation(worker.Interceptor):
    """AppError -> ApplicationError; anything unexpected -> a retryable `INTERNAL` whose text repeats nothing of it."""

    def intercept_activity(self, inner: worker.ActivityInboundInterceptor) -> worker.ActivityInboundInterceptor:
        return _Translating(inner)


class _Translating(worker.ActivityInboundInterceptor):
    async def execute_activity(self, call: worker.ExecuteActivityInput) -> Any:
        try:
            return await self.next.execute_activity(call)
        except AppError as error:
            raise to_application_error(error) from None
        except FailureError:
            raise  # Temporal's own: cancellation, or an error that an activity chose to put so
        except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, it is logged and translated
            raise _internal(error) from None


class CrashAfterReturn(worker.Interceptor):
    """The crash point `after_return`: the work is done and the server does not know."""

    def intercept_activity(self, inner: worker.ActivityInboundInterceptor) -> worker.ActivityInboundInterceptor:
        return _Crashing(inner)


class _Crashing(worker.ActivityInboundInterceptor):
    async def execute_activity(self, call: worker.ExecuteActivityInput) -> Any:
        result = await self.next.execute_activity(call)
        name = activity.info().activity_type
        if name in CRASH_POINTS:
            crash_point(name, "after_return")
        return result


def _internal(error: Exception) -> ApplicationError:
    """Logs where it happened and under which id; neither the log nor the failure holds the exception's text.

    That text is where libraries put statements with their parameters, rejected input and request bodies.
    """
    error_id = str(new_id())
    classes = " <- ".join(_class_names(error))
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("unexpected %s, error id %s\n%s", classes, error_id, frames, extra={"error_id": error_id})
    return ApplicationError(
        f"unexpected {type(error).__name__}; the worker's log has more under error id {error_id}",
        {"class": AppError.__name__, "details": {"error_id": error_id, "exception": classes}},
        type=AppError.code,
    )


def _class_names(error: BaseException | None) -> list[str]:
    names: list[str] = []
    while error is not None and len(names) < 10:
        names.append(type(error).__qualname__)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return names


class RequestContextPropagation(client.Interceptor, worker.Interceptor):
    """Carries the `RequestContext` from the API through workflows and their children to every activity."""

    def intercept_client(self, inner: client.OutboundInterceptor) -> client.OutboundInterceptor:
        return _ClientOutbound(inner)

    def intercept_activity(self, inner: worker.ActivityInboundInterceptor) -> worker.ActivityInboundInterceptor:
        return _ActivityInbound(inner)

    def workflow_interceptor_class(
        self, given: worker.WorkflowInterceptorClassInput
    ) -> type[worker.WorkflowInboundInterceptor]:
        return _WorkflowInbound


def _stamp(headers: Mapping[str, Payload]) -> Mapping[str, Payload]:
    context = current_context()
    if context is None:
        return headers
    data = _AS_JSON.dump_json(context, exclude_none=True)
    return {**headers, HEADER: Payload(metadata={"encoding": b"json/plain"}, data=data)}


def _read(headers: Mapping[str, Payload]) -> RequestContext | None:
    """The context of a header; None where there is none or it is not ours to read: logs may lack an id, work may not stop."""
    payload = headers.get(HEADER)
    if payload is None:
        return None
    try:
        return _AS_JSON.validate_json(payload.data)
    except ValueError:
        return None


class _ActivityInbound(worker.ActivityInboundInterceptor):
    async def execute_activity(self, call: worker.ExecuteActivityInput) -> Any:
        with bound_context(_read(call.headers)):  # the SDK copies it to the thread of a synchronous activity
            return await self.next.execute_activity(call)


class _WorkflowInbound(worker.WorkflowInboundInterceptor):
    """A signal or update carries the context of its own request, within its handler; the rest has that of the start."""

    def init(self, outbound: worker.WorkflowOutboundInterceptor) -> None:
        self.next.init(_WorkflowOutbound(outbound))

    async def execute_workflow(self, call: worker.ExecuteWorkflowInput) -> Any:
        set_context(_read(call.headers))
        return await self.next.execute_workflow(call)

    async def handle_signal(self, call: worker.HandleSignalInput) -> None:
        set_context(_read(call.headers))
        await self.next.handle_signal(call)

    async def handle_update_handler(self, call: worker.HandleUpdateInput) -> Any:
        set_context(_read(call.headers))
        return await self.next.handle_update_handler(call)


class _WorkflowOutbound(worker.WorkflowOutboundInterceptor):
    def continue_as_new(self, call: worker.ContinueAsNewInput) -> NoReturn:
        call.headers = _stamp(call.headers)
        self.next.continue_as_new(call)

    def start_activity(self, call: worker.StartActivityInput) -> ActivityHandle[Any]:
        call.headers = _stamp(call.headers)
        return self.next.start_activity(call)

    def start_local_activity(self, call: worker.StartLocalActivityInput) -> ActivityHandle[Any]:
        call.headers = _stamp(call.headers)
        return self.next.start_local_activity(call)

    async def start_child_workflow(self, call: worker.StartChildWorkflowInput) -> ChildWorkflowHandle[Any, Any]:
        call.headers = _stamp(call.headers)
        return await self.next.start_child_workflow(call)

    async def signal_child_workflow(self, call: worker.SignalChildWorkflowInput) -> None:
        call.headers = _stamp(call.headers)
        await self.next.signal_child_workflow(call)

    async def signal_external_workflow(self, call: worker.SignalExternalWorkflowInput) -> None:
        call.headers = _stamp(call.headers)
        await self.next.signal_external_workflow(call)


class _ClientOutbound(client.OutboundInterceptor):
    async def start_workflow(self, call: client.StartWorkflowInput) -> client.WorkflowHandle[Any, Any]:
        call.headers = _stamp(call.headers)
        return await self.next.start_workflow(call)

    async def signal_workflow(self, call: client.SignalWorkflowInput) -> None:
        call.headers = _stamp(call.headers)
        await self.next.signal_workflow(call)

    async def start_workflow_update(self, call: client.StartWorkflowUpdateInput) -> client.WorkflowUpdateHandle[Any]:
        call.headers = _stamp(call.headers)
        return await self.next.start_workflow_update(call)
