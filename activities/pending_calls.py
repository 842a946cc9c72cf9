"""A call at the provider that has not come back: being worked on, failing again and again, or taken up by nobody.

A workflow does not see the attempts of its activities; the server does, and tells who describes the workflow.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from temporalio import activity
from temporalio.api.enums.v1 import PendingActivityState, TimeoutType
from temporalio.converter import ActivitySerializationContext
from temporalio.service import RPCError

from models.contracts.pending_calls import AttemptHeld, CallView, PendingCall
from models.domain.holds import HoldCode, refused_by_provider

if TYPE_CHECKING:
    from temporalio.api.failure.v1 import Failure
    from temporalio.api.workflow.v1 import PendingActivityInfo

RPC_TIMEOUT: Final = timedelta(seconds=3)
ONE_ATTEMPT: Final = timedelta(seconds=30)
"""Time-out of one request to a provider, and a bit: an attempt that has lasted longer does not fail at its first request."""


class PendingCallActivities:
    """Called as a local activity, by an owner whose call takes long."""

    @activity.defn
    async def look_at_pending_call(self, call: PendingCall) -> CallView:
        """Never fails on Temporal's account: not to know is an answer."""
        info = activity.info()
        handle = activity.client().get_workflow_handle(info.workflow_id or "", run_id=info.workflow_run_id)
        try:
            described = await handle.describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError:
            return CallView(is_known=False)
        pending = described.raw_description.pending_activities
        if len(pending) != 1:
            return CallView(is_known=False)
        held = await _said_by_attempt(pending[0])
        return view_of(pending[0], call.now) if held is None else CallView(is_known=True, held=held)


async def _said_by_attempt(pending: PendingActivityInfo) -> HoldCode | None:
    """Why an attempt under way waits, where its last heartbeat said so."""
    is_under_way = pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
    if not is_under_way or not pending.HasField("heartbeat_details"):
        return None
    info = activity.info()
    place = ActivitySerializationContext(
        namespace=info.namespace,
        activity_id=pending.activity_id,
        activity_type=pending.activity_type.name,
        activity_task_queue=None,
        workflow_id=info.workflow_id,
        workflow_type=info.workflow_type,
        is_local=False,
    )
    converter = activity.client().data_converter.with_context(place)
    try:
        said = await converter.decode(pending.heartbeat_details.payloads, [AttemptHeld])
    except Exception:  # noqa: BLE001  (whoever reaches Temporal can write there: not to know is an answer)
        return None
    return said[0].code if said and isinstance(said[0], AttemptHeld) else None


def view_of(pending: PendingActivityInfo, now: datetime) -> CallView:
    """What an attempt under way is worth, the server does not say: one that has lasted past a first request is going well."""
    has_failed = pending.HasField("last_failure")
    if pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED:
        held = _why(pending.last_failure) if has_failed else HoldCode.NO_WORKER
        return CallView(is_known=True, held=held)
    is_young = now - pending.last_started_time.ToDatetime(UTC) < ONE_ATTEMPT
    return CallView(is_known=True, held=_why(pending.last_failure) if has_failed and is_young else None)


def _why(failure: Failure) -> HoldCode:
    """The type of a failure of ours is its code, in clear. A worker that died with its attempt leaves a missed heartbeat."""
    if failure.HasField("timeout_failure_info"):
        is_lost = failure.timeout_failure_info.timeout_type == TimeoutType.TIMEOUT_TYPE_HEARTBEAT
        return HoldCode.NO_WORKER if is_lost else HoldCode.PROVIDER_UNAVAILABLE
    return refused_by_provider(failure.application_failure_info.type)
