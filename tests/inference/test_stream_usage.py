"""What a stream with several choices has used: servers that report per choice, in running totals, or once."""

from typing import Any

import orjson
import pytest

from models.domain.inference.calls import Endpoint, parse_call
from models.domain.inference.taps import StreamTap
from models.domain.inference.usage import Usage, input_tokens
from tests.inference.model_server import DONE

Chunk = dict[str, Any]


def usage(given: int, made: int) -> dict[str, int]:
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


def text(index: int, words: str = "a", finish: str | None = None, **more: Any) -> Chunk:
    return {"id": "x", "choices": [{"index": index, "text": words, "finish_reason": finish}], **more}


def alone(given: int, made: int) -> Chunk:
    return {"id": "x", "choices": [], "usage": usage(given, made)}


def tap_of(endpoint: Endpoint = Endpoint.COMPLETIONS, **body: Any) -> StreamTap:
    call = parse_call(endpoint, orjson.dumps({"model": "m", "stream": True, **body}))
    tap = call.tap(is_event_stream=True)
    assert isinstance(tap, StreamTap)
    return tap


def passed(tap: StreamTap, chunks: list[Chunk], *, is_done: bool = True) -> list[Chunk]:
    """What the caller gets, parsed; `[DONE]` has to be the last."""
    sent = [b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks] + ([DONE] if is_done else [])
    got = b"".join(tap.feed(each) for each in sent) + tap.end()
    events = [each.removeprefix(b"data: ") for each in got.split(b"\n\n") if each]
    if is_done:
        assert events.pop() == b"[DONE]"
    return [orjson.loads(each) for each in events]


ASKED: dict[str, Any] = {"stream_options": {"include_usage": True}}
BESIDE_EACH_END = [  # llama.cpp, a list of prompts
    text(1), text(0), text(1, "", "length", usage=usage(8, 6)), text(0), text(0, "", "stop", usage=usage(5, 2))
]  # fmt: skip
ALONE_AFTER_EACH_END = [  # llama.cpp, a conversation with n=2
    text(0), text(1, "", "length"), alone(31, 4), text(0, "", "stop"), alone(31, 2)
]  # fmt: skip
RUNNING_PER_CHOICE = [  # vLLM, continuous_usage_stats
    text(0, usage=usage(5, 1)), text(1, usage=usage(8, 1)), text(0, usage=usage(5, 2)), text(1, usage=usage(8, 6)),
    text(0, "", "stop", usage=usage(5, 2)), text(1, "", "length", usage=usage(8, 6)), alone(13, 8),
]  # fmt: skip
ONCE = [text(0), text(1), text(0, "", "stop"), text(1, "", "length"), alone(13, 8)]
RUNNING_WHOLE = [text(0), alone(13, 1), text(1), alone(13, 3), text(0, "", "stop"), text(1, "", "stop"), alone(13, 8)]
RUNNING_WHOLE_TO_THE_END = [*RUNNING_WHOLE[:5], alone(13, 5), *RUNNING_WHOLE[5:]]


@pytest.mark.parametrize(
    ("endpoint", "chunks", "expected"),
    [
        (Endpoint.COMPLETIONS, BESIDE_EACH_END, Usage(13, 8)),
        (Endpoint.CHAT_COMPLETIONS, ALONE_AFTER_EACH_END, Usage(31, 6)),
        (Endpoint.COMPLETIONS, RUNNING_PER_CHOICE, Usage(13, 8)),
        (Endpoint.COMPLETIONS, RUNNING_PER_CHOICE[:-1], Usage(13, 8)),
        (Endpoint.COMPLETIONS, ONCE, Usage(13, 8)),
        (Endpoint.COMPLETIONS, RUNNING_WHOLE, Usage(13, 8)),
        (Endpoint.COMPLETIONS, RUNNING_WHOLE_TO_THE_END, Usage(13, 8)),
    ],
)
@pytest.mark.parametrize("body", [{}, ASKED])
def test_every_choice_is_counted_once(
    endpoint: Endpoint, chunks: list[Chunk], expected: Usage, body: dict[str, Any]
) -> None:
    tap = tap_of(endpoint, **body)
    got = passed(tap, chunks)
    assert tap.usage == expected
    assert sum(chunk["choices"] != [] for chunk in got) == sum(chunk["choices"] != [] for chunk in chunks)
    if body == ASKED:
        assert [number for number, chunk in enumerate(got) if chunk.get("usage")] == [len(got) - 1]
        assert got[-1] == {"id": "x", "choices": [], "usage": expected.as_openai()}
    else:
        assert all(chunk["choices"] for chunk in got)


def test_the_prompt_of_several_choices_counts_once() -> None:
    tap = tap_of(n=2, prompt=["a", "b"])
    passed(tap, [text(index, "", "stop", usage=usage(5 + index // 2, 2)) for index in (1, 3, 0, 2)])
    assert tap.usage == Usage(5 + 6, 8)


@pytest.mark.parametrize("length", [3, 4])
def test_a_stream_cut_before_all_have_reported_is_estimated(length: int) -> None:
    tap = tap_of()
    passed(tap, BESIDE_EACH_END[:length], is_done=False)
    assert tap.usage is None
    assert tap.output_tokens == length - 1


def test_a_running_total_is_worth_something_whenever_it_is_cut() -> None:
    tap = tap_of()
    passed(tap, RUNNING_PER_CHOICE[:3], is_done=False)
    assert tap.usage == Usage(13, 3)


def test_who_asks_for_running_totals_keeps_them() -> None:
    body: dict[str, Any] = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    assert passed(tap_of(**body), RUNNING_PER_CHOICE) == RUNNING_PER_CHOICE


@pytest.mark.parametrize("is_done", [True, False])
def test_a_server_that_reports_beside_its_last_content_only(is_done: bool) -> None:
    last = text(0, "b", "stop", usage=usage(5, 2), timings={"ms": 1})
    got = passed(tap_of(**ASKED), [text(0), last], is_done=is_done)
    assert got == [text(0), last | {"usage": None}, last | {"choices": []}]


@pytest.mark.parametrize("space", [b"", b" "])
def test_nobody_is_told_of_usage_who_did_not_ask(space: bytes) -> None:
    tap = tap_of()
    word = '"usage":null, \\"usage\\":null'
    for head in (b'"usage":%bnull,%b' % (space, space), b""):
        tail = b"" if head else b',%b"usage":%bnull' % (space, space)
        choices = b'"choices":[{"index":0,"text":%b}]' % orjson.dumps(word)
        assert tap.feed(b"data: {" + head + choices + tail + b"}\n\n") == b"data: {" + choices + b"}\n\n"


@pytest.mark.parametrize("body", [{}, ASKED])
def test_an_event_that_is_null_goes_to_nobody(body: dict[str, Any]) -> None:
    tap = tap_of(**body)
    assert tap.feed(b"data: null\n\n") + tap.feed(b"data: null") + tap.end() == b""


def test_an_input_of_tokens_is_counted() -> None:
    assert input_tokens({"prompt": [[1, 2, 3], [4]]}) == 4
    assert input_tokens({"input": [5, 6]}) == 2
    assert input_tokens({"prompt": ["abcd", "ef"]}) == 2
    assert input_tokens({"messages": [{"content": None, "tool_calls": [{"id": "12"}]}, 5], "tools": 5}) == 1
    assert input_tokens({"messages": 5, "prompt": {}, "input": 5, "tools": None}) == 0
    assert input_tokens({"messages": [{"content": "abcde"}], "prompt": None}) == 2
