"""Everything that the API answers, joined from the families: which there are, listing `api/families` says."""

from collections.abc import Mapping
from typing import Final

from fastapi import APIRouter

from api import families
from api.cancelling import CancelHandler
from api.family import ApiFamily, Turn
from api.health import Health
from api.spine import SPINE
from models.base.listing import exported
from models.contracts.owner_kinds import OwnerKinds
from models.repositories.pulse import Calls

FAMILIES: Final = (*exported(families, "FAMILY", ApiFamily), SPINE)

ROUTERS: Final[tuple[tuple[str, APIRouter], ...]] = tuple(
    (family.name, router) for turn in Turn for family in FAMILIES for router in family.routers.get(turn, ())
)
"""In the order in which their routes are tried, each with the name of its family; so the next."""

SOCKETS: Final[tuple[tuple[str, APIRouter], ...]] = tuple(
    (family.name, router) for family in FAMILIES for router in family.sockets
)

SHORTCUTS: Final = {prefix: answering for family in FAMILIES for prefix, answering in family.shortcuts.items()}
"""Applications that answer below a path, past the framework."""

OWNER_KINDS: Final = OwnerKinds(kind for family in FAMILIES for kind in family.owners)

CANCEL_HANDLERS: Final[Mapping[str, CancelHandler]] = {
    resource_kind: handler for family in FAMILIES for resource_kind, handler in family.cancel_handlers.items()
}

BEAT: Final[Calls] = {name: call for family in FAMILIES for name, call in family.beat.items()}

HEALTH: Final = Health(family.health for family in FAMILIES)
"""What `GET /health` answers."""
