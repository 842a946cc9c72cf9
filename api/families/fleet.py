"""The fleet: instances, the catalogue they are chosen from, and the agents on their machines."""

from collections.abc import Sequence
from typing import Final, Self

from api.family import ApiFamily, Turn
from api.health import HealthFields, HealthPart
from api.node_agents.boots import BootLimits
from api.node_agents.heartbeats import Heartbeats
from api.part import ApiObjects
from api.routers.fleet import catalog, instance_metrics, instances, model_catalog, node_agents
from api.state import AppState
from models.contracts.fleet.owner_kinds import INSTANCE, OWNER_KINDS
from models.repositories.fleet.beats import BEAT, UNOWNED_MACHINES
from models.repositories.fleet.instances import commands as instance_commands


def _made(objects: ApiObjects) -> Sequence[object]:
    return BootLimits(), Heartbeats.into(objects.databases.signs_of_life)


class FleetHealth(HealthFields):
    unowned_machines: int

    @classmethod
    def of(cls, state: AppState) -> Self:
        return cls(unowned_machines=_unowned(state))


def _unowned(state: AppState) -> int:
    """Machines that run at providers, bear the tag of this installation, and belong to nobody."""
    return state.pulse.ailments.count(UNOWNED_MACHINES)


FAMILY: Final = ApiFamily(
    name="fleet",
    routers={
        Turn.MACHINES: (node_agents.router,),
        Turn.PEOPLE: (instances.router, instance_metrics.router),
        Turn.SELDOM: (catalog.router, model_catalog.router),
    },
    compose=_made,
    owners=OWNER_KINDS,
    beat=BEAT,
    health=HealthPart(fields=FleetHealth, reasons={"MACHINE_WITHOUT_OWNER": lambda state: _unowned(state) > 0}),
    cancel_handlers={INSTANCE.resource_kind: instance_commands.cancel},
)
