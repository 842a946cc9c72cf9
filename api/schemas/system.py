"""What the process says about itself."""

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


class HealthHead(ResponseModel):
    """What every process says of itself (contract decision 8); what families say follows it, `HealthTail` is the end."""

    status: Literal["healthy", "degraded"]
    database: str
    version: str
    timestamp: Moment
    brains: Brains
    memory: Memory
    stuck_messages: int


class HealthTail(ResponseModel):
    """What sums up."""

    alarms: Annotated[
        dict[str, int], Field(description="How many are open, by their codes; whose, the action logs say.")
    ]
    reasons: list[str]


class Version(ResponseModel):
    """`build_time` is when the running code was put in place."""

    backend_version: str
    build_time: Moment
