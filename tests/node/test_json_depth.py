"""How deep a request to a node agent may be."""

import pytest

from node.json_depth import MOST_LEVELS, parsed


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_sixty_four_levels_and_not_one_more(opening: bytes, closing: bytes) -> None:
    assert parsed(opening * MOST_LEVELS + b"1" + closing * MOST_LEVELS)
    for depth in (MOST_LEVELS + 1, 500, 100_000):
        with pytest.raises(ValueError, match=r"nested|recursion|depth"):
            parsed(opening * depth + b"1" + closing * depth)


@pytest.mark.parametrize("text", [b"", b"{", b"NaN", b"\xff", b'"\\ud800"', b"\xef\xbb\xbf{}"])
def test_what_is_no_json_in_utf8(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parsed(text)
