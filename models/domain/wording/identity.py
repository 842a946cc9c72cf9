"""What identity says."""

from typing import Final

from models.domain.identity.errors import ERRORS
from models.domain.words import Words

FAMILY: Final = Words(errors=ERRORS)
