"""`Prefer` as RFC 7240 has it: its examples, and what a caller may get wrong."""

import pytest

from api.prefer import LONGEST_WAIT_S, preferences


@pytest.mark.parametrize(
    ("fields", "wait_s"),
    [
        ([], None),
        ([""], None),
        (["wait=10"], 10),
        (["WAIT=10"], 10),
        (["respond-async, wait=10"], 10),
        (["respond-async;wait=20, wait=10"], 10),  # a parameter of another preference is none of its own
        (["respond-async", "wait=10"], 10),
        (["respond-async"], 0),
        (['wait="7"'], 7),
        (["wait = 7"], 7),
        (["wait=7; foo=1"], 7),
        (['foo="a, wait=3"; bar="x\\", wait=4", wait=5'], 5),
        ([" , ,wait=5"], 5),
        (["wait=1, wait=2"], 1),
        (["wait=0"], 0),
        (["wait=25"], 25),
        (["wait=26"], LONGEST_WAIT_S),
        (["wait=999999999"], LONGEST_WAIT_S),
        (["wait=99999999999999999999"], None),
        (["wait"], None),
        (["wait="], None),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait=ten"], None),
        (["wait=١"], None),
        (["return=minimal"], None),
        (["wait=5 6"], 5),
        (['"wait=3'], None),
        (["=,=;=,wait=2"], 2),
    ],
)
def test_what_is_preferred(fields: list[str], wait_s: int | None):
    assert preferences(fields).wait_s == wait_s


@pytest.mark.parametrize("field", ['"' * 8_000, ";" * 8_000, "a=" * 4_000, 'a="' * 3_000, "\\" * 8_000, " \t" * 4_000])
def test_nonsense_of_any_length_is_passed_over(field: str):
    assert preferences([field]).wait_s is None
