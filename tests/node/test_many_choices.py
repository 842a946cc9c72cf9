"""Several choices in one answer: lists of prompts, several answers to one; what they used, and in which form it is told."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.node.machine import MODEL_ID, SERVING_KEY, NodeMachine
from tests.node.test_serving import chat, events, post

PROMPTS = [f"{number} sheep and a wolf" for number in range(5)]
FIXED: dict[str, Any] = {"model": MODEL_ID, "max_tokens": 3, "temperature": 0, "ignore_eos": True}
USAGE: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


async def chunks(client: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    async with client.post(path, json=body) as response:
        assert response.status == 200
        *told, done = await events(response)
    assert done == "[DONE]"
    return [json.loads(each) for each in told]


async def alone(client: aiohttp.ClientSession, prompt: Any) -> tuple[str, int]:
    _, body = await post(client, "/v1/completions", FIXED | {"prompt": prompt})
    return body["choices"][0]["text"], body["usage"]["prompt_tokens"]


async def test_a_list_of_prompts_is_answered_in_order_and_counted(client: aiohttp.ClientSession) -> None:
    expected = [await alone(client, prompt) for prompt in PROMPTS]
    status, body = await post(client, "/v1/completions", FIXED | {"prompt": PROMPTS})
    assert status == 200
    assert [choice["index"] for choice in body["choices"]] == list(range(5))
    assert [choice["text"] for choice in body["choices"]] == [text for text, _ in expected]
    given = sum(tokens for _, tokens in expected)
    assert body["usage"] == {"prompt_tokens": given, "completion_tokens": 15, "total_tokens": given + 15}


async def test_prompts_may_be_tokens(client: aiohttp.ClientSession) -> None:
    prompts = [[504, 4024], [330, 2767, 314]]
    status, body = await post(client, "/v1/completions", FIXED | {"prompt": prompts})
    assert status == 200
    assert [choice["text"] for choice in body["choices"]] == [(await alone(client, prompt))[0] for prompt in prompts]
    assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) == (5, 6)


@pytest.mark.parametrize("stream", [True, False])
async def test_choices_of_each_prompt_follow_one_another(client: aiohttp.ClientSession, stream: bool) -> None:
    asked = FIXED | {"prompt": PROMPTS[:2], "n": 2}
    if stream:
        told = await chunks(client, "/v1/completions", asked | USAGE)
        usage, found = told[-1]["usage"], {choice["index"] for chunk in told for choice in chunk["choices"]}
    else:
        _, body = await post(client, "/v1/completions", asked)
        usage, found = body["usage"], {choice["index"] for choice in body["choices"]}
    assert found == {0, 1, 2, 3}
    given = sum([(await alone(client, prompt))[1] for prompt in PROMPTS[:2]])
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (given, 12)


@pytest.mark.parametrize(
    ("path", "question", "made"),
    [
        ("/v1/completions", {"prompt": PROMPTS}, 15),
        ("/v1/completions", {"prompt": PROMPTS[0]}, 3),
        ("/v1/chat/completions", {"messages": chat("Hello")["messages"], "n": 2}, 6),
    ],
)
async def test_a_stream_tells_its_usage_once_at_the_end(
    client: aiohttp.ClientSession, path: str, question: dict[str, Any], made: int
) -> None:
    asked = FIXED | question
    told = await chunks(client, path, asked | USAGE)
    assert [number for number, chunk in enumerate(told) if chunk.get("usage")] == [len(told) - 1]
    assert told[-1]["choices"] == []
    assert told[-1]["usage"]["completion_tokens"] == made
    _, whole = await post(client, path, asked)
    assert told[-1]["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"]
    unasked = await chunks(client, path, asked | {"stream": True})
    assert not any("usage" in chunk for chunk in unasked)
    assert all(chunk["choices"] for chunk in unasked)


async def test_an_answer_without_a_word_is_an_empty_text(client: aiohttp.ClientSession) -> None:
    asked = chat("Say hello.", max_tokens=4, logit_bias={"2": 100}, temperature=0)  # token 2 ends the answer
    _, body = await post(client, "/v1/chat/completions", asked)
    assert body["choices"][0]["message"]["content"] == ""
    told = await chunks(client, "/v1/chat/completions", asked | {"stream": True})
    assert [chunk["choices"][0]["delta"].get("content", "") for chunk in told] == [""] * len(told)


async def test_a_client_of_http_1_0_gets_no_chunks(served: NodeMachine) -> None:
    content = json.dumps(chat("Hello", max_tokens=2, stream=True)).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", served.status["port"])
    head = f"POST /v1/chat/completions HTTP/1.0\r\nAuthorization: Bearer {SERVING_KEY}\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)
    told, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert b"transfer-encoding" not in told.lower()
    assert body.startswith(b"data: {")
    assert body.endswith(b"data: [DONE]\n\n")
