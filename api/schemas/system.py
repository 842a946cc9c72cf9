"""What the process says about itself."""

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
    """Both shapes of the contract in one (decision 8)."""

    status: str
    database: str
    version: str
    timestamp: Moment
    brains: Brains
    memory: Memory


class Version(ResponseModel):
    """`build_time` is when the running code was put in place."""

    backend_version: str
    build_time: Moment
