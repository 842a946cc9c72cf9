"""Migrations are one chain, numbered as they follow each other: two that took the same number would leave no way to the head."""

import re
from itertools import pairwise

from tests.architecture.source import GENERATED, ROOT

NAMED = re.compile(r"^(?P<number>\d{4})_[a-z0-9_]+\.py$")
REVISION = re.compile(r'^revision = "(\d{4})"$', re.MULTILINE)
FUNCTIONS_IN_FILES_AFTER = "0022"
"""Before, migrations defined them: these stay as they were."""
DEFINITION = re.compile(r"\b(CREATE|DROP|ALTER)\s+(OR\s+REPLACE\s+)?(FUNCTION|PROCEDURE|TRIGGER)\b", re.IGNORECASE)
RIGHT = re.compile(r"\b(GRANT|REVOKE)\s", re.IGNORECASE)
AFTER = re.compile(r'^down_revision = (?:"(\d{4})"|None)$', re.MULTILINE)


def test_each_follows_the_one_before() -> None:
    files = sorted(GENERATED.glob("*.py"))
    named = [NAMED.fullmatch(path.name) for path in files]
    assert None not in named
    numbers = [match["number"] for match in named if match is not None]
    assert [int(number) for number in numbers] == list(range(1, len(files) + 1)), "a number is missing, or taken twice"
    texts = [path.read_text() for path in files]
    assert [REVISION.findall(text) for text in texts] == [[number] for number in numbers]
    assert [AFTER.findall(text) for text in texts] == [[""], *([before] for before, _ in pairwise(numbers))]


def test_none_defines_a_function_calls_one_of_ours_or_gives_a_right() -> None:
    """They are applied after the last migration, from their files: before that there is what an older version left."""
    ours = [path.stem for path in (ROOT / "models" / "sql").rglob("*.sql")]
    call = re.compile(rf"\b({'|'.join(ours)})\s*\(")
    texts = {
        path.name: path.read_text() for path in GENERATED.glob("*.py") if path.name > f"{FUNCTIONS_IN_FILES_AFTER}_~"
    }
    assert [name for name, text in texts.items() if DEFINITION.search(text)] == [], (
        "a function has its file in models/sql"
    )
    assert [name for name, text in texts.items() if call.search(text)] == [], (
        "say in the migration itself what it needs"
    )
    assert [name for name, text in texts.items() if RIGHT.search(text)] == [], "a table says who may do what to it"
    assert DEFINITION.search((GENERATED / "0022_first_look.py").read_text())
    assert call.search((GENERATED / "0004_node_agents.py").read_text())
