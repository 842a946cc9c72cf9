"""Migrations are one chain, numbered as they follow each other: two that took the same number would leave no way to the head."""

import re
from itertools import pairwise

from tests.architecture.source import GENERATED

NAMED = re.compile(r"^(?P<number>\d{4})_[a-z0-9_]+\.py$")
REVISION = re.compile(r'^revision = "(\d{4})"$', re.MULTILINE)
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
