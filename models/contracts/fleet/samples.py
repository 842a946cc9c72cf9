"""The upkeep of heartbeat samples."""

from pydantic import BaseModel


class UpkeepInput(BaseModel):
    pass


class UpkeepResult(BaseModel):
    averaged: int = 0
    partitions_changed: int = 0
