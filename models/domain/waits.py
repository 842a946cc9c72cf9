"""What every family's objects may wait for."""

from enum import StrEnum


class SpineWait(StrEnum):
    OWNER = "OWNER"  # it was asked for; its owner has not begun, or has not gone on yet
    DECISION = "DECISION"  # `question` is the code of what is asked
    OTHER = "OTHER"  # `text` says what: of a row that another version wrote
