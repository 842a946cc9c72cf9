"""How often a silent agent's machine is restarted before somebody must look."""

from typing import Final

from workflows import options
from workflows.fleet.instances.owner import InstanceOwner

HEAL_ATTEMPTS: Final = 3
"""Tries of `on_unavailable` before the instance is `failed` with an alarm (contract decision 13)."""

STEADY_AFTER_S: Final = 900.0
"""An instance that stayed ready for so long has healed: its next silence begins with all attempts."""


def is_exhausted(owner: InstanceOwner) -> bool:
    return owner.row.heal_attempts >= HEAL_ATTEMPTS


def attempts_of_silence(owner: InstanceOwner) -> int:
    """What a silence that begins now has used up already."""
    is_relapse = owner.moments.elapsed(owner.row.ready_at) < options.seconds(STEADY_AFTER_S)
    return owner.row.heal_attempts if is_relapse else 0
