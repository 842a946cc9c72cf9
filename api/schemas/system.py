"""What the process says about itself."""

from typing import Literal

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


class Health(ResponseModel):
    """Both shapes of the contract in one (decision 8), and what is not as it should be.

    `degraded`: requests are answered, but `stuck_messages` of the outbox have not reached their workflows for ten minutes.
    """

    status: Literal["healthy", "degraded"]
    database: str
    version: str
    timestamp: Moment
    brains: Brains
    memory: Memory
    stuck_messages: int


class Version(ResponseModel):
    """`build_time` is when the running code was put in place."""

    backend_version: str
    build_time: Moment
