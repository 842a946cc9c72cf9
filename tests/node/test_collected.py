"""A stream put together again: shapes that the small model does not produce at will."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from node.collected import CollectedAnswer, StreamError, events
from node.usage import UsageSum


def collected(*chunks: dict[str, Any]) -> dict[str, Any]:
    answer = CollectedAnswer(UsageSum(None), chat=True)
    for chunk in chunks:
        answer.add(chunk)
    return answer.body()


def piece(index: int = 0, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


async def lines(*given: bytes) -> AsyncIterator[bytes]:
    for line in given:
        yield line


def test_tool_calls_are_joined_by_their_index() -> None:
    first = {"index": 0, "id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"ci'}}
    second = {"index": 1, "id": "b", "type": "function", "function": {"name": "time", "arguments": "{}"}}
    more = {"index": 0, "function": {"arguments": 'ty":1}'}}
    body = collected(
        piece(role="assistant", content=None),
        piece(tool_calls=[first]),
        piece(tool_calls=[second]),
        piece(tool_calls=[more]),
        piece(finish="tool_calls"),
    )
    (choice,) = body["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert [(call["id"], call["function"]["arguments"]) for call in choice["message"]["tool_calls"]] == [
        ("a", '{"city":1}'),
        ("b", "{}"),
    ]


def test_choices_that_arrive_mixed_keep_apart() -> None:
    body = collected(
        piece(1, content="b"), piece(0, content="a"), piece(1, content="B"), piece(0, "stop"), piece(1, "length")
    )
    assert [(c["message"]["content"], c["finish_reason"]) for c in body["choices"]] == [("a", "stop"), ("bB", "length")]


def test_reasoning_is_kept_beside_the_content() -> None:
    (choice,) = collected(piece(reasoning_content="hm"), piece(reasoning_content="m"), piece(content="yes"))["choices"]
    assert choice["message"] == {"role": "assistant", "content": "yes", "reasoning_content": "hmm"}


def test_log_probabilities_continue() -> None:
    first, second = piece(content="a"), piece(content="b")
    first["choices"][0]["logprobs"] = {"content": [{"token": "a"}]}
    second["choices"][0]["logprobs"] = {"content": [{"token": "b"}]}
    (choice,) = collected(first, second)["choices"]
    assert choice["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}


async def test_a_stream_ends_at_done() -> None:
    seen = [event async for event in events(lines(b'data: {"a":1}\n', b"\n", b": ping\n", b"data: [DONE]\n", b"x"))]
    assert seen == [{"a": 1}]


@pytest.mark.parametrize(
    "broken",
    [
        [b'data: {"a":1}\n'],
        [b'data: {"error":{"message":"m","type":"server_error"}}\n', b"data: [DONE]\n"],
        [b'error: {"message":"m","type":"server_error"}\n'],
    ],
)
async def test_a_stream_that_breaks_off_or_tells_an_error_is_no_answer(broken: list[bytes]) -> None:
    with pytest.raises(StreamError):
        [event async for event in events(lines(*broken))]
