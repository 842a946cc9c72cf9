"""What an instance's owner may change of its row."""

from models.domain.fleet.instances.machines import Ended, Machine, Volume
from models.domain.fleet.instances.progress import Step
from models.domain.fleet.instances.state import InstanceStatus
from workflows.lib.changes import OwnerChange


class Change(OwnerChange, total=False):
    """Keyword arguments of `InstanceOwner.project`, with the meaning that `Projection` gives them."""

    status: InstanceStatus | None
    reason: str | None
    steps: list[Step]
    mark_silent: bool
    begin_boot: bool
    least_generation: int | None
    no_capacity_in: str | None
    machine: Machine | None
    found: list[Machine]
    volumes: list[Volume]
    ended: list[Ended]
    error_code: str | None
    error_message: str | None
    clear_error: bool
    deletion_reason: str | None
    deleted_by_provider: bool
    heal_attempts: int | None
