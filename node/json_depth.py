"""How deep a request's JSON is: whatever walks it here, and the model server's own code, does so in recursion."""

from typing import Any

import orjson

MOST_LEVELS = 64
"""As the control plane has it, whose requests these are."""


def parsed(text: bytes) -> Any:
    """The JSON value. Raises ValueError for what is none, and for one of more than 64 levels."""
    value = orjson.loads(text)  # it does not recurse, and refuses more than 1,024 levels
    level = [value]
    for _ in range(MOST_LEVELS + 1):
        containers = [each for each in level if isinstance(each, dict | list)]
        if not containers:
            return value
        level = [member for each in containers for member in (each.values() if isinstance(each, dict) else each)]
    raise ValueError(f"nested more than {MOST_LEVELS} levels deep")
