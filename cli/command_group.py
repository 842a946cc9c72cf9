"""What a module of `cli/commands` brings: the `COMMANDS` of one capability, found by listing the package."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class CommandGroup:
    commands: tuple[Callable[..., None], ...]
    """Each is called by the function's name."""
    place: int = 50
    """Where they stand in `quarterdeck --help`: the smaller the earlier, and by the modules' names where places are equal."""
    below: Mapping[str, tuple[Callable[..., None], ...]] = field(default_factory=dict)
    """What one of `commands` has commands of its own for, each called by the first word of the function's name
    (`approve_operation` is `operations approve`). It asks its context whether one of them was given.
    """
