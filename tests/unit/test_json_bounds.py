"""The bounds of JSON bodies, told from their bytes: never another verdict than that of counting what was parsed."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.base import json_bounds
from models.base.errors import MalformedRequest
from models.base.json_bounds import MOST_LEVELS, MOST_MEMBERS, check_depth, check_json_bounds, check_json_values

NASTY = st.text(alphabet='[]{}",\\ab\n\u2222é', max_size=12)
VALUES = st.recursive(
    NASTY | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(NASTY, inner, max_size=6),
    max_leaves=40,
)


def shape(value: object) -> tuple[int, int, int]:
    """Levels, members of the widest, and texts and containers in all."""
    if isinstance(value, str):
        return 0, 0, 1
    if not isinstance(value, dict | list):
        return 0, 0, 0
    members = [*value, *value.values()] if isinstance(value, dict) else value
    shapes = [shape(member) for member in members]
    return (
        1 + max((levels for levels, _, _ in shapes), default=0),
        max(len(value), *(widest for _, widest, _ in shapes), 0),
        1 + sum(values for _, _, values in shapes),
    )


def is_refused(text: bytes) -> bool:
    try:
        check_json_bounds(text)
    except MalformedRequest:
        return True
    return False


@given(VALUES, st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 60)), st.booleans(), st.booleans())
def test_bytes_and_objects_agree(value: object, bounds: tuple[int, int, int], is_ascii: bool, is_spaced: bool):
    levels, members, values = bounds
    text = json.dumps(value, ensure_ascii=is_ascii, indent=1 if is_spaced else None).encode()
    found_levels, widest, total = shape(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_bounds, "MOST_LEVELS", levels)
        patch.setattr(json_bounds, "MOST_MEMBERS", members)
        patch.setattr(json_bounds, "MOST_VALUES", values)
        assert is_refused(text) == (found_levels > levels or widest > members or total > values)


@pytest.mark.parametrize(
    ("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]"), (b'{"a":[', b"]}")]
)
def test_sixty_four_levels_and_not_one_more(opening: bytes, closing: bytes):
    each = opening.count(b"[") + opening.count(b"{")
    fits = opening * (MOST_LEVELS // each) + b"1" + closing * (MOST_LEVELS // each)
    assert not is_refused(fits)
    assert is_refused(b"[%b]" % fits)
    check_depth(orjson.loads(fits), fits)
    with pytest.raises(MalformedRequest):
        check_depth(orjson.loads(b"[%b]" % fits), b"[%b]" % fits)


@pytest.mark.parametrize(
    ("text", "is_fit"),
    [
        (b"[" + b"1," * (MOST_MEMBERS - 1) + b"1]", True),
        (b"[" + b"1," * MOST_MEMBERS + b"1]", False),
        (orjson.dumps({f"f{number}": [number] for number in range(MOST_MEMBERS)}), True),
        (orjson.dumps({f"f{number}": [number] for number in range(MOST_MEMBERS + 1)}), False),
        (orjson.dumps([[1] * 9_000] * 3), True),
        (orjson.dumps("," * 20_000 + "[" * 200 + '"\\'), True),
        (b"[" * 60_000, False),
        (b"[%b1]" % (b"[{}]," * 10_000), False),
        (b'["",""],' * 100_000, False),
    ],
)
def test_what_is_wide(text: bytes, is_fit: bool):
    assert is_refused(text) != is_fit


def test_a_list_of_tokens_may_be_as_long_as_a_context_and_lists_may_not_be_without_number():
    check_json_values(orjson.dumps({"prompt": list(range(200_000))}))
    check_json_values(orjson.dumps({"messages": [{"content": 'say "[{"' * 1_000}] * 200}))
    for hostile in (b"[],", b'"",', b'{"a":1},'):
        with pytest.raises(MalformedRequest):
            check_json_values(b"[%b1]" % (hostile * 300_000))
