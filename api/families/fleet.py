"""The fleet: instances, the catalogue they are chosen from, and the agents on their machines."""

from collections.abc import Sequence
from typing import Final

from api.family import ApiFamily, Turn
from api.node_agents.boots import BootLimits
from api.node_agents.heartbeats import Heartbeats
from api.part import ApiObjects
from api.routers.fleet import catalog, instance_metrics, instances, model_catalog, node_agents
from models.contracts.fleet.owner_kinds import INSTANCE, OWNER_KINDS
from models.repositories.fleet import instance_commands


def _made(objects: ApiObjects) -> Sequence[object]:
    return BootLimits(), Heartbeats.into(objects.databases.signs_of_life)


FAMILY: Final = ApiFamily(
    name="fleet",
    routers={
        Turn.MACHINES: (node_agents.router,),
        Turn.PEOPLE: (instances.router, instance_metrics.router),
        Turn.SELDOM: (catalog.router, model_catalog.router),
    },
    compose=_made,
    owners=OWNER_KINDS,
    cancel_handlers={INSTANCE.resource_kind: instance_commands.cancel},
)
