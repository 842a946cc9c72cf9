"""Tables on standard output, of which nothing is cut off: what they name is typed again, or read by a program."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

WIDER_THAN_ANY_ROW = 10_000


def show_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """At a terminal cells are folded into its width; elsewhere each row is one line. None is an empty cell."""
    table = Table(box=None, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    width = None if sys.stdout.isatty() else WIDER_THAN_ANY_ROW
    Console(width=width, markup=False, highlight=False).print(table)
