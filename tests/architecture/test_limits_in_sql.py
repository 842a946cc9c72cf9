"""A limit beside SKIP LOCKED holds only where rows are chosen once: as a subquery of UPDATE or DELETE, a plan may run it again for every
row of the other side, each time past what it has locked already. That took two blobs where one was asked for, by the statistics of the day.
"""

import re
from pathlib import Path

SQL = Path(__file__).resolve().parents[2] / "models" / "sql"
CHOSEN_AGAIN = re.compile(
    r"(?:FROM|USING|IN)\s*\((?:[^()]|\([^()]*\))*\bLIMIT\b(?:[^()]|\([^()]*\))*\bSKIP LOCKED\b", re.IGNORECASE
)


def test_a_limited_choice_of_unlocked_rows_is_made_once() -> None:
    files = sorted(SQL.rglob("*.sql"))
    assert any("SKIP LOCKED" in file.read_text() for file in files)
    assert [file.name for file in files if CHOSEN_AGAIN.search(file.read_text())] == []
