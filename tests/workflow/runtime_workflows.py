"""Workflows and activities that exist to be failed, killed and replayed by the runtime's own tests."""

from datetime import timedelta
from typing import TypedDict

from pydantic import BaseModel
from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ChildWorkflowError

from activities.runtime.context import RequestContext, current_context
from activities.runtime.crash import crash_points
from activities.runtime.failures import unwrap
from models.base.errors import NoCapacity, PartialCreate, ProviderThrottled, ProviderUnavailable

THROTTLED_FOR_S = 3.0


class Order(BaseModel):
    kind: str
    text: str = ""


class Seen(BaseModel):
    kind: str
    code: str
    message: str
    details: dict[str, object] = {}
    retry_after_s: float | None = None
    context: RequestContext | None = None


@activity.defn
@crash_points()
async def misbehave(order: Order) -> str:
    attempt = activity.info().attempt
    match order.kind:
        case "no-capacity":
            raise NoCapacity("no machine of this type is free", details={"zone": "local", "attempt": attempt})
        case "partial":
            raise PartialCreate("the create was cut short", resource_id="m-1") from ValueError(order.text)
        case "throttled" if attempt == 1:
            raise ProviderThrottled("slow down", retry_after_s=THROTTLED_FOR_S)
        case "throttled":
            info = activity.info()
            return str((info.current_attempt_scheduled_time - info.scheduled_time).total_seconds())
        case "narrowed":
            raise NoCapacity("the quota is used up", code="QUOTA_USED_UP", details={"quota": 4})
        case "bug":
            raise RuntimeError(f"INSERT failed: {order.text}") from KeyError(order.text)
        case "bug-once" if attempt == 1:
            raise RuntimeError(order.text)
        case "echo":
            return order.text
    return f"attempt {attempt}"


@activity.defn
async def who_async() -> RequestContext | None:
    return current_context()


@activity.defn
def who_sync() -> RequestContext | None:
    return current_context()


class Patience(TypedDict, total=False):
    start_to_close_timeout: timedelta
    retry_policy: RetryPolicy


ONCE: Patience = {"start_to_close_timeout": timedelta(seconds=10), "retry_policy": RetryPolicy(maximum_attempts=1)}
RETRYING = {"start_to_close_timeout": timedelta(seconds=10)}


@workflow.defn(name="RuntimeProbe")
class RuntimeProbe:
    """Runs one activity and says what came of it, as the code after `unwrap` sees it."""

    @workflow.run
    async def run(self, order: Order) -> Seen:
        options = RETRYING if order.kind in {"throttled", "bug-once", "no-capacity"} else ONCE
        try:
            result = await workflow.execute_activity(misbehave, order, **options)
        except ActivityError as failure:
            error = unwrap(failure)
            return Seen(
                kind=type(error).__name__,
                code=error.code,
                message=error.message,
                details=error.details,
                retry_after_s=error.retry_after_s,
            )
        return Seen(kind="result", code="waited" if order.kind == "throttled" else "", message=result)


@workflow.defn(name="RuntimeFailing")
class RuntimeFailing:
    """Raises out of workflow code."""

    @workflow.run
    async def run(self, order: Order) -> None:
        if order.kind == "partial":
            raise PartialCreate(order.text, resource_id="m-2")
        raise ProviderUnavailable(order.text, details={"zone": "local"}, retry_after_s=7)


@workflow.defn(name="RuntimeParent")
class RuntimeParent:
    """The child's failure, as its parent's code sees it."""

    @workflow.run
    async def run(self, order: Order) -> Seen:
        try:
            await workflow.execute_child_workflow(RuntimeFailing.run, order, id=f"{workflow.info().workflow_id}/child")
        except ChildWorkflowError as failure:
            error = unwrap(failure)
            return Seen(kind=type(error).__name__, code=error.code, message=error.message, details=error.details)
        return Seen(kind="none", code="", message="")


@workflow.defn(name="RuntimeContext")
class RuntimeContext:
    """Who asked, as seen by each kind of activity, by a child and after continue-as-new."""

    @workflow.init
    def __init__(self, hops: int) -> None:
        self._signalled: RequestContext | None = None
        self._go = False
        self._hops = hops

    @workflow.run
    async def run(self, hops: int) -> list[RequestContext | None]:
        if hops:
            workflow.continue_as_new(hops - 1)
        await workflow.wait_condition(lambda: self._go)
        return [
            current_context(),
            await workflow.execute_activity(who_async, **ONCE),
            await workflow.execute_activity(who_sync, **ONCE),
            await workflow.execute_local_activity(who_async, **ONCE),
            self._signalled,
        ]

    @workflow.signal
    async def go(self, _order: Order) -> None:
        self._signalled = await workflow.execute_activity(who_async, **ONCE)
        self._go = True

    @workflow.query
    def is_last_run(self) -> bool:
        return self._hops == 0
