"""One instance, from the accepted order to the verified end of its bill."""

import asyncio
from contextlib import suppress

from temporalio import workflow
from temporalio.exceptions import FailureError

from activities.runtime.failures import unwrap
from models.base.errors import AppError
from models.contracts.instances import Command, InstanceInput, InstanceSnapshot, Observed
from models.domain.instances.holds import unexpected
from models.domain.instances.state import InstanceStatus
from workflows import options
from workflows.instances import provisioning, removal, serving, startup
from workflows.instances.owner import InterruptedByTermination, Owner

S = InstanceStatus


@workflow.defn(name="Instance")
class InstanceWorkflow:
    """Owner of one instance, id `instance/{id}`. It ends only when nothing of the instance exists any more.

    provisioning -> booting -> installing -> starting -> ready -> draining -> terminating -> terminated
         |             |___________________________|       |  ^
         v             v                                   v  |
       failed    startup_failed                         unavailable -> booting | failed

    Signals are hints that the row has changed: `command` for an operation, `observed` for the node agent. The loop reads
    the row again and acts on what it says, so a signal that is lost, late or repeated changes nothing.
    """

    @workflow.init
    def __init__(self, start: InstanceInput) -> None:
        self._owner = Owner(start)

    @workflow.run
    async def run(self, start: InstanceInput) -> None:
        """A cancellation from outside ends nothing: it stays on the primary task, and the owner's work is another one."""
        life = asyncio.ensure_future(self._own(start))
        while not life.done():
            with suppress(asyncio.CancelledError):
                await asyncio.shield(life)
        await life

    async def _own(self, start: InstanceInput) -> None:
        owner = self._owner
        while not owner.is_over:
            if workflow.info().is_continue_as_new_suggested():
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(
                    start.model_copy(
                        update={
                            "handled": owner.handled,
                            "removal_began_at": owner.removal_began_at,
                            "removal_rounds": owner.removal_rounds,
                            "is_alarm_raised": owner.is_alarm_raised,
                            "held": owner.holding.held,
                        }
                    )
                )
            await self._hold(owner)

    async def _hold(self, owner: Owner) -> None:
        """One pass that cannot end the owner: what it did not expect it reports, waits, and looks at the row again."""
        owner.holding.begin_pass()
        try:
            if owner.has_news:
                await owner.load()
            await self._live(owner)
        except InterruptedByTermination:
            return  # the next pass sees what is wanted
        except (FailureError, AppError) as failure:  # a local activity that is refused fails without an ActivityError
            error = unwrap(failure)
            workflow.logger.error("the owner of an instance holds after %s", error.code)
            owner.holding.note(unexpected(error))
            await owner.show_hold()
            await owner.pause(options.HOLD_S)
        else:
            owner.holding.end_with_pass()
            if not owner.is_over:
                await owner.show_hold()

    async def _live(self, owner: Owner) -> None:
        match owner.row.status:
            case S.PROVISIONING:
                await provisioning.provision(owner)
            case S.BOOTING | S.INSTALLING | S.STARTING:
                await startup.await_ready(owner)
            case S.READY:
                await serving.serve(owner)
            case S.UNAVAILABLE:
                await serving.heal(owner)
            case S.DRAINING:
                await removal.drain(owner)
            case S.TERMINATING:
                await removal.remove(owner)
            case S.PROVISIONING_FAILED | S.STARTUP_FAILED | S.FAILED:
                await serving.idle(owner)
            case S.TERMINATED | S.ARCHIVED:
                return

    @workflow.signal
    def command(self, command: Command) -> None:
        self._owner.hear_command(command.operation_id)

    @workflow.signal
    def observed(self, observed: Observed) -> None:
        self._owner.hear_edge()

    @workflow.query
    def snapshot(self) -> InstanceSnapshot:
        return self._owner.row
