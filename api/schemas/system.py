"""What the process says about itself."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from api.schemas.base import Moment, ResponseModel


class Brains(ResponseModel):
    """Zero until there are brains (contract decision 8)."""

    active: int = 0
    total: int = 0
    max: int = 100


class Memory(ResponseModel):
    """Of this process and of the machine, as in `512MB`."""

    used: str
    total: str


class Degradation(StrEnum):
    """Why `degraded`, in the codes by which it is told elsewhere."""

    MESSAGE_NOT_DELIVERED = "MESSAGE_NOT_DELIVERED"
    """`stuck_messages` of the outbox have not reached their workflows for ten minutes."""
    MACHINE_WITHOUT_OWNER = "MACHINE_WITHOUT_OWNER"
    """`unowned_machines` run at providers, bear the tag of this installation, and belong to nobody."""
    METERING_UNAVAILABLE = "METERING_UNAVAILABLE"
    """The disk takes no records of inference requests, so that none is served."""


class Health(ResponseModel):
    """Both shapes of the contract in one (decision 8), and what is not as it should be.

    `degraded`: requests are answered, but for what `reasons` say.
    """

    status: Literal["healthy", "degraded"]
    database: str
    version: str
    timestamp: Moment
    brains: Brains
    memory: Memory
    stuck_messages: int
    unowned_machines: int
    alarms: Annotated[
        dict[str, int], Field(description="How many are open, by their codes; whose, the action logs say.")
    ]
    reasons: list[Degradation]


class Version(ResponseModel):
    """`build_time` is when the running code was put in place."""

    backend_version: str
    build_time: Moment
