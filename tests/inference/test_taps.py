"""What is read on the way to the caller, however the network cuts it."""

import itertools

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.domain.inference.taps import LONGEST_HELD_BYTES, MOST_CHOICES, WHOLE_BODY_BYTES, BodyTap, StreamTap
from models.domain.inference.usage import Usage, estimated_tokens, input_tokens, reported_usage
from tests.inference.model_server import DONE, USAGE, USAGE_CHUNK, chunk

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
COMMENT = b": keepalive\n\n"


def event(data: bytes, end: bytes, *, lines: int = 1) -> bytes:
    """The data as so many `data:` lines, which a reader joins with line feeds."""
    size = max(1, len(data) // lines)
    parts = [data[start : start + size] for start in range(0, len(data), size)] if lines > 1 else [data]
    return b"".join(b"data: " + part + end for part in parts) + end


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], list[bytes], int]:
    """(events with the usage that was asked for, the same without any, characters of content)"""
    end = draw(LINE_ENDS)
    texts = draw(st.lists(st.text(min_size=1, max_size=20), max_size=8))
    asked, kept = [], []
    for text in texts:
        document = {"choices": [{"index": 0, "delta": {"content": text}}]}
        asked.append(event(orjson.dumps(document | {"usage": None}), end))
        kept.append(event(orjson.dumps(document), end))
        if draw(st.booleans()):
            asked.append(b": comment" + end + end)
            kept.append(asked[-1])
    usage = event(orjson.dumps({"choices": [], "usage": USAGE}), end)
    done = draw(st.sampled_from([[], [event(b"[DONE]", end)]]))
    return [*asked, usage, *done], [*kept, *done], sum(map(len, texts))


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({position % (len(data) + 1) for position in cuts}), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(edges) if start != stop]


@given(stream=streams(), cuts=st.lists(st.integers(0, 10_000), max_size=40))
def test_exactly_the_usage_is_stripped(stream: tuple[list[bytes], list[bytes], int], cuts: list[int]) -> None:
    sent, expected, characters = stream
    tap = StreamTap(strip_usage=True)
    passed = b"".join(tap.feed(piece) for piece in cut(b"".join(sent), cuts)) + tap.end()
    assert passed == b"".join(expected)
    assert tap.usage == Usage(7, 3)
    assert tap.output_tokens >= estimated_tokens(characters)


@given(stream=streams(), cuts=st.lists(st.integers(0, 10_000), max_size=40))
def test_unstripped_every_byte_passes_as_it_came(stream: tuple[list[bytes], list[bytes], int], cuts: list[int]) -> None:
    tap = StreamTap(strip_usage=False)
    sent = b"".join(stream[0])
    assert b"".join(tap.feed(piece) for piece in cut(sent, cuts)) + tap.end() == sent
    assert tap.usage == Usage(7, 3)


@given(garbage=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=20), strips=st.booleans())
def test_garbage_passes_unharmed(garbage: bytes, cuts: list[int], strips: bool) -> None:
    tap = StreamTap(strip_usage=strips)
    passed = b"".join(tap.feed(piece) for piece in cut(garbage, cuts)) + tap.end()
    assert passed == garbage
    assert tap.usage is None


@given(lines=st.integers(1, 6), cuts=st.lists(st.integers(0, 500), max_size=10))
def test_data_over_several_lines_is_one_event(lines: int, cuts: list[int]) -> None:
    pretty = orjson.dumps({"choices": [], "usage": USAGE}, option=orjson.OPT_INDENT_2)
    text = b"".join(b"data: " + line + b"\n" for line in pretty.split(b"\n")) + b"\n"
    tap = StreamTap(strip_usage=True)
    assert b"".join(tap.feed(piece) for piece in cut(text, cuts)) + tap.end() == b""
    assert tap.usage == Usage(7, 3)


def test_a_whole_event_goes_on_at_once() -> None:
    tap = StreamTap(strip_usage=True)
    assert tap.feed(chunk("a") + chunk("b")[:-3]) == chunk("a")
    assert tap.feed(chunk("b")[-3:]) == chunk("b")
    assert tap.feed(COMMENT) == COMMENT


@given(cuts=st.lists(st.integers(0, 200), max_size=10), strips=st.booleans())
def test_complete_is_what_ends_in_done(cuts: list[int], strips: bool) -> None:
    text = chunk("a") + chunk("b") + DONE
    whole = text.index(b"[DONE]") + len(b"[DONE]")
    for length in range(len(text) + 1):
        tap = StreamTap(strip_usage=strips)
        for piece in cut(text[:length], cuts):
            tap.feed(piece)
        tap.end()
        assert tap.is_complete == (length >= whole)


def finishing(*reasons: object) -> bytes:
    """One chunk in which each choice has this reason for its end."""
    choices = [{"index": index, "delta": {"content": "a"}, "finish_reason": r} for index, r in enumerate(reasons)]
    return b"data: " + orjson.dumps({"choices": choices}) + b"\n\n"


@pytest.mark.parametrize(
    ("events", "is_complete"),
    [
        ([], False),
        ([COMMENT], False),
        ([chunk("a")], False),
        ([USAGE_CHUNK], False),
        ([finishing(None)], False),
        ([finishing("")], False),
        ([finishing("stop")], True),
        ([finishing("stop"), USAGE_CHUNK, COMMENT], True),
        ([finishing("stop"), chunk("an afterthought")], True),
        ([finishing(None, None), finishing("stop")], False),
        ([finishing("stop", None), finishing(None, "length")], True),
        ([b'data: {"choices": [{"index": [], "finish_reason": "stop"}, 5]}\n\n'], True),
        ([b'data: {"choices": [{"index": 1e300, "finish_reason": "stop"}, null]}\n\n'], True),
        ([chunk("[DONE]")], False),
        ([chunk("x" * 2 * LONGEST_HELD_BYTES)], True),
        ([chunk("x" * 2 * LONGEST_HELD_BYTES)[:-1]], False),
        ([chunk("x" * 2 * LONGEST_HELD_BYTES), chunk("a")], False),
    ],
)
def test_complete_is_what_has_a_reason_for_each_end(events: list[bytes], is_complete: bool) -> None:
    tap = StreamTap(strip_usage=True)
    for each in events:
        for piece in cut(each, list(range(0, len(each), 10_000))):
            tap.feed(piece)
    tap.end()
    assert tap.is_complete is is_complete


def test_choices_without_end_cost_no_memory() -> None:
    tap = StreamTap(strip_usage=True)
    for number in range(5_000):
        tap.feed(chunk("a").replace(b'"index":0', b'"index":%d' % number))
    assert len(tap._begun) <= MOST_CHOICES


def test_an_event_too_long_to_be_usage_is_not_held() -> None:
    tap = StreamTap(strip_usage=True)
    long = chunk("x" * LONGEST_HELD_BYTES * 2)
    pieces = [long[start : start + 10_000] for start in range(0, len(long), 10_000)]
    passed = [tap.feed(piece) for piece in pieces]
    assert b"".join(passed) == long
    assert max(map(len, passed)) <= LONGEST_HELD_BYTES + 10_000
    assert tap.feed(USAGE_CHUNK) == b""
    assert tap.feed(DONE) == DONE
    assert tap.usage == Usage(7, 3)


def test_a_last_event_without_its_blank_line() -> None:
    tap = StreamTap(strip_usage=True)
    assert tap.feed(chunk("a")[:-2]) == b""
    assert tap.end() == chunk("a")[:-2]
    tap = StreamTap(strip_usage=True)
    assert tap.feed(USAGE_CHUNK[:-2]) + tap.end() == b""
    assert tap.usage == Usage(7, 3)


def test_running_totals_are_counted_by_the_last() -> None:
    tap = StreamTap(strip_usage=True)
    for count in range(1, 6):
        usage = {"prompt_tokens": 7, "completion_tokens": count}
        assert tap.feed(chunk("a", usage=usage)) == chunk("a", usage=usage)
    assert tap.usage == Usage(7, 5)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        5,
        [],
        {},
        {"prompt_tokens": "7"},
        {"prompt_tokens": -1},
        {"prompt_tokens": True},
        {"completion_tokens": 2**40},
    ],
)
def test_nonsense_is_no_usage(usage: object) -> None:
    assert reported_usage(usage) is None
    tap = StreamTap(strip_usage=True)
    extra = chunk(usage=usage)
    assert tap.feed(extra) == (chunk() if usage is None else extra)
    assert tap.usage is None


def test_tool_calls_and_reasoning_count() -> None:
    tap = StreamTap(strip_usage=True)
    call = {"index": 0, "function": {"name": "look", "arguments": '{"a": 1}'}}
    delta = {"role": "assistant", "reasoning_content": "hmm hmm!", "tool_calls": [call]}
    tap.feed(b"data: " + orjson.dumps({"choices": [{"delta": delta}]}) + b"\n\n")
    assert tap.output_tokens == estimated_tokens(8 + 4 + 8)


@given(size=st.integers(0, 60), pieces=st.lists(st.integers(0, 10_000), max_size=10))
def test_a_body_passes_and_its_usage_is_read(size: int, pieces: list[int]) -> None:
    body = orjson.dumps({"choices": [{"text": "x" * size}], "usage": USAGE, "timings": {"usage": 1}})
    tap = BodyTap()
    assert b"".join(tap.feed(piece) for piece in cut(body, pieces)) == body
    assert tap.usage == Usage(7, 3)


def test_text_cannot_pose_as_usage() -> None:
    forged = orjson.dumps({"usage": {"prompt_tokens": 0, "completion_tokens": 0}}).decode()
    body = orjson.dumps(
        {
            "data": "x" * WHOLE_BODY_BYTES,
            "usage": USAGE,
            "choices": [{"message": {"content": f'"{forged} "usage": {{}}'}}],
        }
    )
    assert len(body) > WHOLE_BODY_BYTES
    tap = BodyTap()
    for start in range(0, len(body), 5000):
        tap.feed(body[start : start + 5000])
    assert tap.usage == Usage(7, 3)


def test_memory_of_a_long_body_is_bounded() -> None:
    tap = BodyTap()
    for _ in range(100):
        tap.feed(b"x" * 50_000)
    assert len(tap._kept) <= WHOLE_BODY_BYTES
    assert tap.usage is None
    assert tap.output_tokens == 0


def test_a_body_without_usage_is_estimated_from_its_text() -> None:
    tap = BodyTap()
    tap.feed(orjson.dumps({"choices": [{"message": {"role": "assistant", "content": "12345"}}]}))
    assert tap.usage is None
    assert tap.output_tokens == 2


def test_the_texts_of_a_request() -> None:
    parts = [{"type": "text", "text": "a" * 16}, {"type": "image_url", "image_url": {"url": "data:" + "x" * 1000}}]
    assert input_tokens({"messages": [{"role": "user", "content": parts}, {"content": "e" * 8}, 5, None]}) == 6
    assert input_tokens({"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "ef"}]}]}) == 1
    assert input_tokens({"prompt": ["a" * 8, "c" * 4]}) == 3
    assert input_tokens({"input": [1, 2, 3]}) == 3
    assert input_tokens({"messages": "none", "prompt": None, "tools": None}) == 0
