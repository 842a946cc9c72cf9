"""The sweeper: what went silent, who is missing, what is old (DESIGN 4)."""

from pydantic import BaseModel


class SweepInput(BaseModel):
    pass


class SweepResult(BaseModel):
    stale: int = 0
    owners_restarted: int = 0
    purged: int = 0
