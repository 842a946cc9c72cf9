"""One instance, from the accepted order to the verified end of its bill."""

from temporalio import workflow

from models.contracts.fleet.instances import InstanceInput, InstanceSnapshot, Observed
from models.domain.fleet.instances.state import InstanceStatus
from workflows.fleet.instances import provisioning, removal, serving, startup
from workflows.fleet.instances.owner import InstanceOwner
from workflows.lib.signals import OwnerSignals

S = InstanceStatus


@workflow.defn(name="Instance")
class InstanceWorkflow(OwnerSignals):
    """Owner of one instance, id `instance/{id}`. It ends only when nothing of the instance exists any more.

    provisioning -> booting -> installing -> starting -> ready -> draining -> terminating -> terminated
         |             |___________________________|       |  ^
         v             v                                   v  |
       failed    startup_failed                         unavailable -> booting | failed

    Signals are hints that the row has changed: `command` for an operation, `observed` for the node agent. The loop reads
    the row again and acts on what it says, so a signal that is lost, late or repeated changes nothing.
    """

    owner: InstanceOwner

    @workflow.init
    def __init__(self, start: InstanceInput) -> None:
        self.owner = InstanceOwner(start)

    @workflow.run
    async def run(self, _start: InstanceInput) -> None:
        await self.owner.live(self._act)

    async def _act(self) -> None:
        owner = self.owner
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
    def observed(self, observed: Observed) -> None:
        self.owner.hear_edge(observed.edge)

    @workflow.query
    def snapshot(self) -> InstanceSnapshot:
        return self.owner.row
