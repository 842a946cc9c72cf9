"""What a table of `status` and `machines` names can be typed again."""

import io

import pytest

from workers.embedded.table import show_table

LONG = "sim-cb4022ab8da2e3623b26-and-some-more-of-it"
ROWS = [
    (LONG, "http://127.0.0.1:20147/a/rather/long/path", None),
    ("short", "", "why it is there, in a sentence for people"),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_every_row_in_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    show_table(("id", "url", "why"), ROWS)
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.split() == [LONG, ROWS[0][1]]
    assert second.startswith("short")
    assert second.rstrip().endswith("in a sentence for people")


def test_a_narrow_terminal_cuts_nothing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", "40")
    show_table(("id",), [(LONG,)])
    assert "".join(line.strip() for line in terminal.getvalue().splitlines()[1:]) == LONG
