"""A toy, which is made and then broken; what travels between its owner, its activities and everybody else."""

from enum import StrEnum
from typing import Final
from uuid import UUID

from pydantic import BaseModel

from models.contracts.operations import Command
from models.contracts.outbox import DeliveryKind
from models.contracts.owner_kinds import OwnedRows, OwnerKind, Signal
from models.contracts.owners import AppliedTo, OwnedSnapshot, OwnerProjection, OwnerState
from models.contracts.schedules import ScheduleKind


class Phase(StrEnum):
    ORDERED = "ordered"  # -> whole, or broken where it is given up
    WHOLE = "whole"
    BROKEN = "broken"


class ToyKey(BaseModel):
    toy_id: UUID
    organization_id: UUID


class ToyInput(OwnerState):
    toy_id: UUID
    organization_id: UUID


class ToySnapshot(OwnedSnapshot):
    status: Phase


class ToyProjection(OwnerProjection):
    key: ToyKey
    status: Phase | None = None


class ToyApplied(AppliedTo[ToySnapshot]):
    """Of a toy's projection."""


class ToyWork(BaseModel):
    """What is done to a toy in the world: once, however often it is asked for."""

    key: ToyKey
    word: str


MAKE, BREAK, TICK = "toy.make", "toy.break", "toy.tick"

TOY: Final = OwnerKind(
    resource_kind="toy",
    noun="toy",
    workflow="Toy",
    id_prefix="toy/",
    queue="toys",
    surface="toys",
    path="/toys/{id}",
    start=lambda toy_id, organization_id: ToyInput(toy_id=toy_id, organization_id=organization_id),
    signals={DeliveryKind.COMMAND: Signal("command", Command)},
    operations=frozenset({MAKE, BREAK, TICK}),
    rows=OwnedRows.of_table("toys", final=[Phase.BROKEN]),
    id_field="toy_id",
)

TICKING: Final = ScheduleKind(kind="toy.tick", owner=TOY, operation=TICK)
