"""What a command writes: results to standard output, everything else to standard error.

A person at a terminal gets tables and colours; a pipe gets tab-separated lines with full ids; `--json` gets the API's JSON.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from cli.failures import CommandFailed
from cli.text import printable, short_ids

if TYPE_CHECKING:
    from rich.console import Console

Row = Mapping[str, Any]

DETAILS_LIMIT = 2_000
"""Longest line of details of an error, in characters."""

STATUS_STYLES = {
    **dict.fromkeys(("ready", "succeeded", "success"), "green"),
    **dict.fromkeys(
        ("provisioning", "booting", "installing", "starting", "pending", "running", "waiting_approval", "in_progress"),
        "cyan",
    ),
    **dict.fromkeys(("unavailable", "draining", "terminating"), "yellow"),
    **dict.fromkeys(("failed", "provisioning_failed", "startup_failed"), "red"),
    **dict.fromkeys(("terminated", "archived", "cancelled"), "dim"),
}


@dataclass(frozen=True)
class Column:
    header: str
    cell: Callable[[Row], str]
    right: bool = False
    is_id: bool = False  # shortened at a terminal
    is_status: bool = False  # coloured at a terminal


class Screen:
    """The two output streams of one invocation."""

    def __init__(self, *, as_json: bool, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.as_json = as_json
        self.out = out or sys.stdout
        self.err = err or sys.stderr

    @property
    def is_rich(self) -> bool:
        return not self.as_json and _is_capable(self.out)

    @property
    def is_live(self) -> bool:
        """Whether a progress bar may be drawn."""
        return not self.as_json and _is_capable(self.err)

    def console(self) -> "Console":
        """Standard error as a canvas for what moves."""
        from rich.console import Console  # noqa: PLC0415  (a pipe never loads it)

        return Console(file=self.err, highlight=False, markup=False, emoji=False)

    def json(self, value: Any) -> None:
        """One document. Everything outside ASCII is escaped, so that no locale can damage it."""
        self.out.write(json.dumps(value, indent=2) + "\n")

    def json_line(self, value: Any) -> None:
        self.out.write(json.dumps(value, separators=(",", ":")) + "\n")
        self.out.flush()

    def line(self, text: str) -> None:
        """A result in words."""
        self.out.write(printable(text) + "\n")
        self.out.flush()

    def note(self, text: str) -> None:
        """Something beside the result; silent with `--json`."""
        if not self.as_json:
            self.err.write(printable(text) + "\n")
            self.err.flush()

    def next_commands(self, *commands: str) -> None:
        """The footer: what a person is likely to do now."""
        self.note("")
        for position, command in enumerate(commands):
            self.note(("Next:  " if position == 0 else "       ") + command)

    def table(self, columns: Sequence[Column], rows: Sequence[Row], *, empty: str) -> None:
        if self.is_rich and rows:
            self._rich_table(columns, rows)
            return
        self.out.write("\t".join(column.header for column in columns) + "\n")
        for row in rows:
            self.out.write("\t".join(column.cell(row) for column in columns) + "\n")
        if not rows:
            self.note(empty)

    def record(self, fields: Sequence[tuple[str, str]]) -> None:
        """Names and values of one object."""
        width = max(len(name) for name, _ in fields) + 2 if self.is_rich else 0
        for name, value in fields:
            self.out.write(f"{name:<{width}}{value}\n" if width else f"{name}\t{value}\n")

    def failure(self, failure: CommandFailed) -> None:
        """The last word of a command that failed. With `--json` one JSON object on one line."""
        if self.as_json:
            self.err.write(json.dumps(failure.as_json(), separators=(",", ":"), default=str) + "\n")
            return
        from cli.reasons import in_other_language  # noqa: PLC0415  (only what fails loads it)

        facts = [f"code {failure.code}"]
        if failure.status is not None:
            facts.append(f"HTTP {failure.status}")
        if failure.request_id:
            facts.append(f"request {failure.request_id}")
        if failure.operation_id:
            facts.append(f"operation {failure.operation_id}")
        lines = [f"Error: {failure.message}", f"  {', '.join(facts)}"]
        if (said := in_other_language(failure.code)) is not None:
            lines[:1] = [f"Error: {said}", f"  {failure.message}"]
        if failure.details:
            lines.append(f"  {json.dumps(failure.details, ensure_ascii=False, default=str)[:DETAILS_LIMIT]}")
        for line in [*lines, *(f"  {hint}" for hint in failure.hints)]:
            indent = "  " if line.startswith("  ") else ""
            self.err.write(f"{indent}{printable(line)}\n")

    def _rich_table(self, columns: Sequence[Column], rows: Sequence[Row]) -> None:
        from rich.console import Console  # noqa: PLC0415  (a pipe never loads it)
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=None, pad_edge=False, header_style="bold")
        shortened = {column.header: short_ids(column.cell(row) for row in rows) for column in columns if column.is_id}
        for column in columns:
            table.add_column(
                column.header, justify="right" if column.right else "left", no_wrap=column.is_id or column.right
            )
        for row in rows:
            cells = []
            for column in columns:
                value = column.cell(row)
                style = STATUS_STYLES.get(value, "") if column.is_status else ""
                cells.append(Text(shortened[column.header][value] if column.is_id else value, style=style))
            table.add_row(*cells)
        Console(file=self.out, highlight=False, markup=False, emoji=False).print(table)


def _is_capable(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}
