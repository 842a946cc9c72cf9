"""What every phase of an instance's life uses: the row as last seen, its changes, its provider, and the news."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar, Unpack
from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.instances import InstanceActivities
from activities.machines import MachineActivities
from activities.runtime.failures import unwrap
from models.contracts.instances import (
    Frozen,
    InstanceInput,
    InstanceKey,
    InstanceSnapshot,
    MachineRef,
    OperationChange,
    Projection,
    Waiting,
)
from models.domain.instances.state import FINAL, DesiredStatus, InstanceStatus
from models.domain.operations import OperationKind, OperationStatus
from models.ports.compute import Machine, MachineSpec
from workflows import options
from workflows.instances.changes import Change, refuse_unknown

HANDLED_KEPT = 200

A = TypeVar("A")
R = TypeVar("R")


def failed(kind: OperationKind, code: str, message: str) -> OperationChange:
    """The end of the open operations of a kind, and why."""
    return OperationChange(kind=kind, status=OperationStatus.FAILED, error_code=code, error_message=message)


class InterruptedByTermination(Exception):
    """A provider call was given up because the instance is to be terminated; what it did is not known."""


class Owner:
    """The working memory of one instance's owner. The row is the truth: news makes the owner read it again."""

    def __init__(self, start: InstanceInput) -> None:
        self.key = InstanceKey(instance_id=start.instance_id, organization_id=start.organization_id)
        self.handled = list(start.handled)
        self.removal_rounds = start.removal_rounds
        self.removal_began_at = start.removal_began_at
        self.is_alarm_raised = start.is_alarm_raised
        self.sent_generation = 0
        """The boot that this owner is known to have had sent to the provider; 0: it does not know of any."""
        self.leftovers_removed = False
        self.has_put_on_record = False
        self._news = 1  # the row, which it has not read yet
        self._seen = 0
        self._row: InstanceSnapshot | None = None

    @property
    def row(self) -> InstanceSnapshot:
        if self._row is None:
            raise RuntimeError("the row is read before anything else")
        return self._row

    @property
    def is_over(self) -> bool:
        return self._row is not None and self._row.status in FINAL

    @property
    def spec(self) -> MachineSpec:
        if self.row.machine_spec is None:
            raise RuntimeError("the spec is frozen before a machine is spoken of")
        return self.row.machine_spec

    @property
    def wants_termination(self) -> bool:
        return self.row.desired_status is DesiredStatus.TERMINATED

    @property
    def has_news(self) -> bool:
        return self._news > self._seen

    def hear_command(self, operation_id: UUID) -> None:
        if operation_id in self.handled:
            return
        self.handled = [*self.handled, operation_id][-HANDLED_KEPT:]
        self._news += 1

    def hear_edge(self) -> None:
        self._news += 1

    async def load(self) -> None:
        self._seen = self._news
        self._row = await workflow.execute_local_activity_method(
            InstanceActivities.load_instance, self.key, **options.RECORD
        )

    async def freeze_spec(self) -> Frozen:
        frozen = await workflow.execute_local_activity_method(
            InstanceActivities.freeze_machine_spec, self.key, **options.RECORD
        )
        self._row = frozen.snapshot
        return frozen

    async def project(self, *, waiting: str | None = None, **change: Unpack[Change]) -> bool:
        """Change the row; afterwards `row` is what stands. False when somebody else changed it first: look again."""
        refuse_unknown(change)
        is_the_end = change.get("status") is InstanceStatus.TERMINATED
        if not is_the_end:
            change["operations"] = [self._of_known(each) for each in change.get("operations", [])]
        projection = Projection(
            key=self.key,
            projection_id=workflow.uuid4(),
            expected_version=self.row.version,
            waiting=Waiting(on=waiting) if waiting else None,
            **change,
        )
        applied = await workflow.execute_local_activity_method(
            InstanceActivities.project_instance, projection, **options.RECORD
        )
        self._row = applied.snapshot
        workflow.set_current_details(f"**{self.row.status}**" + (f", waiting for {waiting}" if waiting else ""))
        return applied.applied

    def _refuse_if_ending(self) -> None:
        if self.wants_termination:
            raise InterruptedByTermination

    def _of_known(self, change: OperationChange) -> OperationChange:
        """Only operations that this decision knew of move by it; none succeeds that was never begun."""
        is_success = change.status is OperationStatus.SUCCEEDED
        known = [one for one in self.row.operations if one.kind is change.kind]
        ids = [one.id for one in known if not (is_success and one.status is OperationStatus.PENDING)]
        return change.model_copy(update={"ids": ids})

    async def wait_for_news(self, timeout_s: float | None = None) -> bool:
        """True when there is news, also when it is time to continue as new; False when the time is over."""
        until = options.seconds(timeout_s) if timeout_s is not None else None
        try:
            await workflow.wait_condition(
                lambda: self.has_news or workflow.info().is_continue_as_new_suggested(), timeout=until
            )
        except TimeoutError:
            return False
        if self.has_news:
            await self.load()
        return True

    async def pause(self, timeout_s: float) -> None:
        """Until there is news or the time is over; then the row is to be read again. Raises nothing."""
        with suppress(TimeoutError):
            await workflow.wait_condition(lambda: self.has_news, timeout=options.seconds(timeout_s))
        self._news += 1

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
        while not handle.done():
            await workflow.wait_condition(lambda: handle.done() or self.has_news)
            if not handle.done():
                await self.load()
                if self.wants_termination:
                    handle.cancel()
                    break
        try:
            return await handle
        except ActivityError as failure:
            if self.wants_termination:
                raise InterruptedByTermination from failure
            raise unwrap(failure) from failure

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
