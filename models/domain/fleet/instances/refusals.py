"""What several commands and queries answer about an instance that they cannot have."""

from typing import Final

from models.base.errors import NotFound

INSTANCE_NOT_FOUND: Final = "INSTANCE_NOT_FOUND"


def instance_not_found() -> NotFound:
    """Also for another organization's: nobody learns that it exists."""
    return NotFound(
        "your organization has no such instance; GET /instances lists those it has", code=INSTANCE_NOT_FOUND
    )
