"""What every phase of an instance's life uses: the row as last seen, and the provider that its machine is at."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError

from activities.machines import MachineActivities
from activities.pending_calls import PendingCallActivities
from activities.runtime.failures import unwrap
from models.base.errors import AppError
from models.contracts.instances import InstanceInput, MachineRef, OperationChange
from models.contracts.pending_calls import PendingCall
from models.domain.instances.holds import refused_by_provider
from models.domain.operations import OperationKind, OperationStatus
from models.ports.compute import Machine, MachineSpec
from workflows import options, patches
from workflows.instances.row import OwnedRow

A = TypeVar("A")
R = TypeVar("R")


def failed(kind: OperationKind, code: str, message: str) -> OperationChange:
    """The end of the open operations of a kind, and why."""
    return OperationChange(kind=kind, status=OperationStatus.FAILED, error_code=code, error_message=message)


class InterruptedByTermination(Exception):
    """A provider call was given up because the instance is to be terminated; what it did is not known."""


class Owner(OwnedRow):
    """The working memory of one instance's owner."""

    def __init__(self, start: InstanceInput) -> None:
        super().__init__(start)
        self.removal_rounds = start.removal_rounds
        self.removal_began_at = start.removal_began_at
        self.is_alarm_raised = start.is_alarm_raised
        self.sent_generation = 0
        """The boot that this owner is known to have had sent to the provider; 0: it does not know of any."""
        self.leftovers_removed = False
        self.has_put_on_record = False

    @property
    def spec(self) -> MachineSpec:
        if self.row.machine_spec is None:
            raise RuntimeError("the spec is frozen before a machine is spoken of")
        return self.row.machine_spec

    async def on_provider(
        self,
        call: Callable[[MachineActivities, A], Awaitable[R]],
        request: A,
        call_options: options.ActivityOptions,
        *,
        summary: str,
    ) -> R:
        """Run an activity at the instance's provider. Raises the AppError it ended with.

        Once termination is wanted nothing else is begun at the provider, and a wish that comes meanwhile cancels the call and
        waits until it is over, so that nothing is created behind the removal's back. Both raise InterruptedByTermination,
        unless the call came to its end all the same.
        """
        self._refuse_if_ending()
        handle = workflow.start_activity_method(
            call,
            request,
            task_queue=self.row.compute_queue,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=summary,
            **call_options,
        )
        look_s = options.FIRST_LOOK_S if workflow.patched(patches.CALLS_ARE_LOOKED_AT) else None
        while not handle.done():
            try:
                await workflow.wait_condition(
                    lambda: handle.done() or self.has_news, timeout=options.seconds(look_s) if look_s else None
                )
            except TimeoutError:
                await self._look_at_call()
                look_s = min(look_s * 2, options.LONGEST_LOOK_S) if look_s else None
            if self.has_news and not handle.done():
                await self.load()
            if self.wants_termination and not handle.done():
                handle.cancel()
                break
        try:
            result = await handle
        except ActivityError as failure:
            if self.wants_termination:
                raise InterruptedByTermination from failure
            raise unwrap(failure) from failure
        self.holding.end_at_provider()
        return result

    async def _look_at_call(self) -> None:
        """A call that is tried again and again, or that nobody takes up, holds the owner up without coming back to it."""
        call = PendingCall(instance_id=self.key.instance_id, now=workflow.now())
        try:
            seen = await workflow.execute_local_activity_method(
                PendingCallActivities.look_at_pending_call, call, **options.LOOK_AT_CALL
            )
        except FailureError as failure:
            workflow.logger.warning("how a call at the provider fares is not known (%s)", unwrap(failure).code)
            return
        if seen.held is not None:
            self.holding.note(seen.held, of_call=True)
        elif seen.is_known:
            self.holding.end_at_provider()
        await self.show_hold()

    async def describe(self) -> Machine | None:
        """The machine as its provider shows it; None when it does not exist. Raises AppError while the provider cannot say."""
        return await self.on_provider(
            MachineActivities.describe_machine, self.machine_ref(), options.PROVIDER_READ, summary="look at the machine"
        )

    def machine_ref(self, *, timeout_s: float = 0.0) -> MachineRef:
        return MachineRef(
            installation_id=self.spec.installation_id,
            instance_id=self.key.instance_id,
            provider_instance_id=self.row.provider_instance_id or "",
            zone=self.spec.zone,
            timeout_s=timeout_s,
        )

    async def wait_for_provider(self, error: AppError) -> None:
        """The row says that the provider refuses to answer, and since when."""
        self.holding.note(refused_by_provider(error.code))
        await self.project(waiting=f"the provider to answer ({error.code})")

    def _refuse_if_ending(self) -> None:
        if self.wants_termination:
            raise InterruptedByTermination
