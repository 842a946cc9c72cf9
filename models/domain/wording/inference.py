"""What inference says."""

from typing import Final

from models.domain.inference.errors import ERRORS
from models.domain.words import Words

FAMILY: Final = Words(errors=ERRORS)
