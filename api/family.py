"""What a family of features brings to the API, as one object: the `FAMILY` of its module in `api/families`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, auto
from pathlib import Path

from fastapi import APIRouter
from starlette.types import ASGIApp

from api.cancelling import CancelHandler
from api.health import HealthPart
from api.part import ApiObjects
from api.state import AppState
from models.contracts.owner_kinds import OwnerKind
from models.repositories.pulse import Calls


class Turn(IntEnum):
    """When the routes of a router are tried: a request is compared with all those before its own."""

    MACHINES = auto()  # by far the most frequent: what every machine sends every few seconds
    PEOPLE = auto()
    SELDOM = auto()
    NEVER = auto()  # answered before any route is looked for; they are there for the document


def _nothing(_objects: ApiObjects) -> Sequence[object]:
    return ()


@dataclass(frozen=True, kw_only=True)
class ApiFamily:
    """Everything by which the API knows the family. `api.registry` joins those of all families."""

    name: str
    routers: Mapping[Turn, Sequence[APIRouter]]
    sockets: Sequence[APIRouter] = ()
    """Those of its sockets (`api.http.sockets`): no request is compared with them."""
    compose: Callable[[ApiObjects], Sequence[object]] = _nothing
    """Makes the family's own objects, of a class each, which handlers have by `state.of(Class)`. Nothing may use the network yet;
    a `Part` among them starts before the first request, and closes after the last.
    """
    shortcuts: Mapping[str, Callable[[AppState], ASGIApp]] = field(default_factory=dict)
    """Applications that answer requests below a path by themselves, past the framework, for what is asked too often for it."""
    owners: Sequence[OwnerKind] = ()
    cancel_handlers: Mapping[str, CancelHandler] = field(default_factory=dict)
    """By the kind of the resource that an operation is on; one of another kind cannot be given up."""
    beat: Calls = field(default_factory=dict)
    """What it says to the database and asks it every few seconds, in the process's one round trip."""
    health: HealthPart = field(default_factory=HealthPart)
    """What it adds to `GET /health`."""
    routes_added: Path | None = None
    """The list of its routes that are not in the contract, each with its reason: tests/contract/test_ledger.py compares them."""
