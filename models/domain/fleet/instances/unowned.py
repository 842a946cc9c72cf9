"""A machine that carries our tag and that no owner looks after: why that is so."""

from enum import StrEnum
from typing import Final


class UnownedReason(StrEnum):
    NO_ROW = "no_row"  # no instance is known that it could be of
    ROW_FINISHED = "row_finished"  # its instance is terminated and its bill closed
    SURPLUS = "surplus"  # its instance lives, and has another machine


SENTENCES: Final = {
    UnownedReason.NO_ROW: "no instance is known that it could belong to",
    UnownedReason.ROW_FINISHED: "its instance has ended",
    UnownedReason.SURPLUS: "its instance has another machine",
}
"""For people, of each reason."""
