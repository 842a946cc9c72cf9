"""Mistakes of the client: each is a 400 that names the field, whatever the model server makes of it."""

import json
from typing import Any

import aiohttp
import pytest

from node.openai_errors import translated
from tests.node.machine import MODEL_ID
from tests.node.test_serving import chat, post

CHAT, TEXT, EMBED = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
HELLO = [{"role": "user", "content": "hello"}]
PNG = "data:image/png;base64,iVBORw0KGgo="


def said(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def called(**call: Any) -> dict[str, Any]:
    """A conversation in which the model called a tool."""
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}} | call]
    assistant = {"role": "assistant", "content": None, "tool_calls": calls}
    return {"messages": [*HELLO, assistant, {"role": "tool", "tool_call_id": "c1", "content": "1"}]}


def with_arguments(arguments: Any) -> dict[str, Any]:
    return called(function={"name": "f", "arguments": arguments})


def schema(schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}


def each(*values: Any) -> tuple[Any, ...]:
    return values


IN_CHATS: list[tuple[dict[str, Any], str | None]] = [
    *(({"messages": value}, "messages") for value in each(None, [], "x", 5, {})),
    *(({"messages": [value]}, "messages[0]") for value in each(None, 5, "x", [])),
    *(({"messages": [{"content": "x"} | role]}, "messages[0].role") for role in ({}, {"role": None}, {"role": 5}, {"role": "wizard"})),
    *((said(value), "messages[0].content") for value in each(None, 5, {}, [])),
    (said([{"type": "text"}]), "messages[0].content[0].text"),
    (said([{"type": "text", "text": 5}]), "messages[0].content[0].text"),
    *((said([value]), "messages[0].content[0].type") for value in each(5, "x", {}, {"type": "unknown"}, {"type": 5})),
    *(
        (said([{"type": "text", "text": "see"}, {"type": kind, kind: {"url": PNG}}]), "messages[0].content[1]")
        for kind in ("image_url", "input_audio", "video_url", "file")
    ),
    *((with_arguments(value), "messages[1].tool_calls[0].function.arguments") for value in each("{bad", "", "[]", "5", 5, None, "[" * 9_999)),
    (called(type="unknown"), "messages[1].tool_calls[0].type"),
    (called(function=None), "messages[1].tool_calls[0].function.name"),
    ({"messages": [*HELLO, {"role": "assistant", "tool_calls": "x"}]}, "messages[1].tool_calls"),
    ({"messages": [*HELLO, {"role": "assistant", "tool_calls": [1]}]}, "messages[1].tool_calls[0].type"),
    *(({"tools": value}, "tools") for value in each("x", 5, {}, True)),
    *(({"tools": [value]}, "tools[0].type") for value in each(1, "x", {}, {"type": "web_search"}, {"function": {"name": "f"}})),
    *(({"tools": [{"type": "function", "function": f}]}, "tools[0].function.name") for f in (None, {}, {"name": 5}, {"name": ""})),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]}, "tools[0].function.parameters"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
    *(({"tool_choice": v}, "tool_choice") for v in ("required", "unknown", 5, {}, {"type": "function", "function": {"name": "f"}})),
    ({"functions": [{"name": "f"}]}, "functions"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    *(({"logprobs": value}, "logprobs") for value in each("x", 5)),
    *(({"top_logprobs": value}, "top_logprobs") for value in each(-1, 21, "x")),
    *(({"max_completion_tokens": value}, "max_completion_tokens") for value in each(0, -1, 1.5, "x", [], {}, True, 10**12)),
    *(({"parallel_tool_calls": value}, "parallel_tool_calls") for value in each("x", 5)),
    ({"reasoning_format": "unknown"}, None),
]  # fmt: skip
IN_TEXTS: list[tuple[dict[str, Any], str | None]] = [
    *(({"prompt": value}, None) for value in each(None, 5, {}, [], ["a", None], [[1], ["a"]], [10**9], [-1], [[10**9]], [1.5], True)),
    ({"suffix": "x"}, "suffix"),
    *(({"logprobs": value}, "logprobs") for value in each(-1, 6, "x", True)),
]  # fmt: skip
IN_BOTH: list[tuple[dict[str, Any], str | None]] = [
    *(({"temperature": value}, "temperature") for value in each(-0.1, 2.1, "x", [], {}, True)),
    *(({"top_p": value}, "top_p") for value in each(-0.1, 1.1, "x")),
    *(({name: v}, name) for name in ("presence_penalty", "frequency_penalty") for v in (-2.1, 2.1, "x")),
    *(({"max_tokens": value}, "max_tokens") for value in each(-1, 1.5, "x", 10**12)),
    *(({"n": value}, "n") for value in each(0, -1, 1.5, "x", 129, True)),
    ({"n": 3}, None),  # two slots
    *(({"seed": value}, "seed") for value in each("x", 1.5, [], True)),
    *(({"stop": value}, "stop") for value in each(5, {}, ["a", 5], True)),
    *(({"stream": value}, "stream") for value in each("x", 1, [])),
    *(({"stream_options": value}, "stream_options") for value in each("x", 5, [])),
    ({"stream_options": {"include_usage": "x"}}, "stream_options.include_usage"),
    *(({"logit_bias": value}, "logit_bias") for value in each("x", 5, ["x"], {"x": 1})),
    *(({"logit_bias": {"1": value}}, "logit_bias.1") for value in each("x", 101, None)),
    *(({"response_format": value}, "response_format.type") for value in each("x", 5, [], {}, {"type": "unknown"}, {"type": 5})),
    *((schema(value), "response_format.json_schema.schema") for value in each(None, 5, "x")),
    ({"grammar": 5}, "grammar"),
    ({"grammar": "root ::= ("}, None),
    ({"json_schema": "x"}, "json_schema"),
]  # fmt: skip
SCHEMAS = [{"type": "unknown"}, {"$ref": "#/nowhere"}, {"type": "object", "properties": 5}, {"enum": 5}, {"allOf": [5]}]
IN_EMBEDDINGS: list[tuple[dict[str, Any], str | None]] = [
    *(({"input": value}, "input") for value in each(None, "", [])),
    *(({"input": value}, None) for value in each(5, {}, True, ["a", None], [10**9], [-1], [1.5])),
    *(({"encoding_format": value}, "encoding_format") for value in each("x", 5)),
    ({"dimensions": 5}, "dimensions"),
]
CASES = [
    *((CHAT, {"messages": HELLO} | body, param) for body, param in [*IN_CHATS, *IN_BOTH]),
    *((CHAT, {"messages": HELLO} | schema(each), None) for each in SCHEMAS),
    *((TEXT, {"prompt": "hello"} | body, param) for body, param in [*IN_TEXTS, *IN_BOTH]),
    *((EMBED, {"input": "hello"} | body, param) for body, param in IN_EMBEDDINGS),
]


async def test_each_mistake_is_a_400_that_names_the_field(client: aiohttp.ClientSession) -> None:
    """One test for all, so that those that are wrong are seen together."""
    wrong = []
    for path, body, param in CASES:
        for stream in ({}, {"stream": True}) if "stream" not in body else ({},):
            status, answer = await post(client, path, {"model": MODEL_ID, "max_tokens": 2} | body | stream)
            error = answer.get("error", {})
            if (status, error.get("type"), error.get("param")) != (400, "invalid_request_error", param):
                wrong.append((path, json.dumps(body)[:150], status, error))
    assert not wrong


@pytest.mark.parametrize(
    "body",
    [
        {"temperature": 0, "top_p": 1, "n": 1, "seed": -1, "stop": ["a", "b"], "logit_bias": {"5": -100}, "logprobs": True},
        {"stop": None, "tools": [], "tool_choice": "none", "response_format": {"type": "text"}, "stream_options": None, "n": None},
        {"messages": [{"role": "developer", "content": [{"type": "text", "text": "be brief"}]}, *HELLO]},
        with_arguments('{"a": 1}'),
        {"max_tokens": 2, "user": 5, "metadata": "x", "store": True, "unknown": {"a": [1]}},
    ],
)  # fmt: skip
async def test_what_is_right_is_answered(client: aiohttp.ClientSession, body: dict[str, Any]) -> None:
    status, answer = await post(client, CHAT, chat("hello", max_tokens=2) | body)
    assert status == 200, answer


def test_a_failure_of_the_server_itself_stays_one() -> None:
    for message in ("Compute error.", "failed to decode", "out of memory"):
        body = json.dumps({"error": {"code": 500, "message": message, "type": "server_error"}}).encode()
        assert translated(500, body)[0] == 500
