"""What a client of the announced port sees: a real model behind it."""

import asyncio
import io
import json
import math
import socket
from typing import Any

import aiohttp
import pytest

from tests.fakes.control_plane import ControlPlane
from tests.node.machine import BOOTSTRAP_TOKEN, MODEL_ID, SERVING_KEY, WORKER_TOKEN, NodeMachine, until

PLANTED_PROMPT = "xylophone-marmalade-9471"
LONG = {"max_tokens": 900, "ignore_eos": True, "temperature": 0}


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL_ID, "messages": [{"role": "user", "content": text}]} | more


async def post(client: aiohttp.ClientSession, path: str, body: Any) -> tuple[int, dict[str, Any]]:
    async with client.post(path, json=body) as response:
        return response.status, await response.json()


async def events(response: aiohttp.ClientResponse) -> list[str]:
    lines = [line.decode().strip() async for line in response.content]
    return [line.removeprefix("data: ") for line in lines if line]


class TestKeys:
    @pytest.mark.parametrize(
        "header",
        [None, "", "Bearer", "Bearer ", f"Basic {SERVING_KEY}", f"Bearer {SERVING_KEY}x", f"Bearer {WORKER_TOKEN}"],
    )
    @pytest.mark.parametrize("path", ["/v1/models", "/v1/health", "/metrics", "/slots", "/props", "/"])
    async def test_nothing_but_health_is_open(self, served: NodeMachine, path: str, header: str | None) -> None:
        headers = {} if header is None else {"Authorization": header}
        async with aiohttp.request("GET", served.url + path, headers=headers) as response:
            assert response.status == 401
            assert (await response.json())["error"]["code"] == "invalid_api_key"

    async def test_health_is_open(self, served: NodeMachine) -> None:
        async with aiohttp.request("GET", served.url + "/health") as response:
            assert (response.status, await response.json()) == (200, {"status": "ok"})

    async def test_a_key_that_is_no_text_is_refused(self, served: NodeMachine) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.status["port"])
        writer.write(
            b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\nConnection: close\r\n\r\n"
        )
        assert (await reader.readline()).split()[1] in {b"400", b"401"}
        writer.close()

    async def test_the_model_servers_own_port_wants_a_key_that_nobody_has(self, served: NodeMachine) -> None:
        server = served.model_servers()[0]
        ports = {each.laddr.port for each in server.net_connections("tcp") if each.status == "LISTEN"}
        assert ports
        for port in ports:
            url = f"http://127.0.0.1:{port}/v1/models"
            async with aiohttp.request("GET", url, headers={"Authorization": f"Bearer {SERVING_KEY}"}) as response:
                assert response.status == 401


class TestAnswers:
    async def test_models_names_the_catalogue_id(self, client: aiohttp.ClientSession) -> None:
        async with client.get("/v1/models") as response:
            assert [model["id"] for model in (await response.json())["data"]] == [MODEL_ID]

    async def test_chat(self, client: aiohttp.ClientSession) -> None:
        status, body = await post(client, "/v1/chat/completions", chat("Say hello.", max_tokens=6))
        assert status == 200
        assert (body["object"], body["model"]) == ("chat.completion", MODEL_ID)
        (choice,) = body["choices"]
        assert choice["message"]["role"] == "assistant"
        assert choice["message"]["content"].strip()
        assert choice["finish_reason"] == "length"
        assert body["usage"]["completion_tokens"] == 6
        assert body["usage"]["total_tokens"] == 6 + body["usage"]["prompt_tokens"]

    async def test_a_stream_says_what_the_whole_answer_says(self, client: aiohttp.ClientSession) -> None:
        question = chat("Name three colours.", max_tokens=20, temperature=0, seed=1)
        _, whole = await post(client, "/v1/chat/completions", question)
        streamed = question | {"stream": True, "stream_options": {"include_usage": True}}
        async with client.post("/v1/chat/completions", json=streamed) as response:
            assert response.content_type == "text/event-stream"
            assert (response.headers["Cache-Control"], response.headers["X-Accel-Buffering"]) == ("no-cache", "no")
            *chunks, done = await events(response)
        assert done == "[DONE]"
        parsed = [json.loads(chunk) for chunk in chunks]
        text = "".join(c["delta"].get("content") or "" for chunk in parsed for c in chunk["choices"])
        assert text == whole["choices"][0]["message"]["content"]
        assert parsed[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]

    async def test_chunks_arrive_while_the_answer_is_made(self, client: aiohttp.ClientSession) -> None:
        async with client.post("/v1/chat/completions", json=chat("Count.", stream=True, **LONG)) as response:
            first = await response.content.readline()
            assert first.startswith(b"data: ")
            assert not response.content.at_eof()

    async def test_a_json_schema_is_obeyed(self, client: aiohttp.ClientSession) -> None:
        schema = {
            "type": "object", "required": ["city", "visits"], "additionalProperties": False,
            "properties": {"city": {"type": "string", "maxLength": 12}, "visits": {"type": "integer", "maximum": 99}},
        }  # fmt: skip
        wanted = {"type": "json_schema", "json_schema": {"name": "visit", "schema": schema}}
        question = chat("A city?", max_tokens=60, temperature=0, response_format=wanted)
        _, body = await post(client, "/v1/chat/completions", question)
        answer = json.loads(body["choices"][0]["message"]["content"])
        assert isinstance(answer["city"], str)
        assert isinstance(answer["visits"], int)

    async def test_completions_count_every_choice(self, client: aiohttp.ClientSession) -> None:
        question = {"model": MODEL_ID, "prompt": "The sea", "max_tokens": 4, "n": 2, "ignore_eos": True}
        status, body = await post(client, "/v1/completions", question)
        assert (status, body["object"]) == (200, "text_completion")
        assert [choice["index"] for choice in body["choices"]] == [0, 1]
        assert body["usage"]["completion_tokens"] == 8

    async def test_embeddings_are_near_for_what_is_alike(self, client: aiohttp.ClientSession) -> None:
        texts = ["The cat sat on the mat.", "A cat is sitting on a rug.", "Shares fell on the stock market."]
        status, body = await post(client, "/v1/embeddings", {"model": MODEL_ID, "input": texts})
        assert status == 200
        cat, other_cat, shares = (row["embedding"] for row in body["data"])
        assert cosine(cat, other_cat) > cosine(cat, shares) + 0.05
        assert body["usage"]["prompt_tokens"] > 10

    async def test_embeddings_are_the_same_alone_together_and_under_load(
        self, served: NodeMachine, client: aiohttp.ClientSession
    ) -> None:
        texts = ["The cat sat on the mat.", "A cat is sitting on a rug.", "It is a long way. " * 6, "x"]

        async def vectors(given: str | list[str]) -> list[list[float]]:
            _, body = await post(client, "/v1/embeddings", {"model": MODEL_ID, "input": given})
            return [row["embedding"] for row in body["data"]]

        alone = [(await vectors(text))[0] for text in texts]
        generations = [ask(served, chat("Count.", stream=True, **LONG)) for _ in range(2)]
        together, *again = await asyncio.gather(vectors(texts), *(vectors(text) for text in texts))
        for generation in generations:
            generation.close()
        for vector, of_many, under_load in zip(alone, together, again, strict=True):
            assert cosine(vector, of_many) > 0.999
            assert cosine(vector, under_load[0]) > 0.999


class TestBadRequests:
    @pytest.mark.parametrize(
        ("path", "body", "status", "code"),
        [
            ("/v1/chat/completions", b"{nonsense", 400, "invalid_json"),
            ("/v1/chat/completions", b"[]", 400, "invalid_json"),
            ("/v1/chat/completions", b"[" * 100_000, 400, "invalid_json"),
            ("/v1/chat/completions", b'{"messages":' + b"[" * 500 + b"]" * 500 + b"}", 400, "invalid_json"),
            ("/v1/chat/completions", b"\xff\xfe", 400, "invalid_json"),
            ("/v1/chat/completions", b'{"model":"other","messages":[]}', 404, "model_not_found"),
            ("/v1/chat/completions", b"{}", 400, "invalid_request_error"),
            ("/v1/completions", b'{"prompt":"x","temperature":"hot"}', 400, "invalid_request_error"),
            ("/v1/completions", json.dumps({"prompt": "word " * 4000}).encode(), 400, "context_length_exceeded"),
            ("/v1/embeddings", json.dumps({"input": "word " * 600}).encode(), 400, "context_length_exceeded"),
            ("/v1/completions", b'"' + b"x" * (10 * 1024 * 1024) + b'"', 413, "payload_too_large"),
            ("/v1/other", b"{}", 404, "not_found"),
        ],
    )
    async def test_each_is_told_in_openais_form(
        self, client: aiohttp.ClientSession, path: str, body: bytes, status: int, code: str
    ) -> None:
        async with client.post(path, data=io.BytesIO(body)) as response:
            error = (await response.json())["error"]
            assert (response.status, error["code"]) == (status, code)
            assert error.keys() == {"message", "type", "param", "code"}


class TestDisconnect:
    """The slot is free long before the 900 tokens would have been made."""

    @pytest.mark.parametrize("stream", [True, False])
    async def test_ends_the_generation(
        self, served: NodeMachine, client: aiohttp.ClientSession, module_plane: ControlPlane, stream: bool
    ) -> None:
        """Measured in the processor time of an answer of 30 tokens, and with another such answer, which needs a free slot."""

        async def spent_s(*connections: socket.socket) -> float:
            before_s = cpu_s(served)
            for connection in connections:
                connection.close()
            await until(lambda: figures(module_plane) == (0, 0))
            status, _ = await post(client, "/v1/chat/completions", chat("Count.", **LONG | {"max_tokens": 30}))
            assert status == 200
            return cpu_s(served) - before_s

        usual_s = await spent_s()
        both_slots = [ask(served, chat("Count.", stream=stream, **LONG)) for _ in range(2)]
        await until(lambda: figures(module_plane) == (2, 0))
        assert await spent_s(*both_slots) < 10 * usual_s, "the model server went on"

    async def test_a_waiting_request_leaves_the_queue(self, served: NodeMachine, module_plane: ControlPlane) -> None:
        connections = [ask(served, chat("Count.", stream=True, **LONG)) for _ in range(5)]
        await until(lambda: figures(module_plane) == (2, 3))
        async with aiohttp.request("GET", served.url + "/health") as response:
            assert response.status == 200
        for connection in connections[2:]:
            connection.close()
        await until(lambda: figures(module_plane) == (2, 0))
        for connection in connections[:2]:
            connection.setblocking(False)
            assert b"[DONE]" not in connection.recv(1_000_000), "it did not leave before it was its turn"
        for connection in connections:
            connection.close()
        await until(lambda: figures(module_plane) == (0, 0))


async def test_nothing_private_is_in_the_log(served: NodeMachine, client: aiohttp.ClientSession) -> None:
    await post(client, "/v1/chat/completions", chat(PLANTED_PROMPT, max_tokens=1))
    await post(client, "/v1/chat/completions", chat(PLANTED_PROMPT, max_tokens=PLANTED_PROMPT))
    await post(client, "/v1/completions", {"prompt": f"{PLANTED_PROMPT} " * 900})
    async with client.post("/v1/completions", data=f'{{"prompt": "{PLANTED_PROMPT}'):
        pass
    for private in (PLANTED_PROMPT, SERVING_KEY, WORKER_TOKEN, BOOTSTRAP_TOKEN):
        assert private not in served.log


def ask(node: NodeMachine, body: dict[str, Any]) -> socket.socket:
    """Send a request and read nothing."""
    payload = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SERVING_KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", node.status["port"]))
    connection.sendall(head.encode() + payload)
    return connection


def figures(plane: ControlPlane) -> tuple[int, int]:
    body = plane.beats[-1].body
    return body["slots_busy"], body["queue_depth"]


def cpu_s(node: NodeMachine) -> float:
    times = [server.cpu_times() for server in node.model_servers()]
    return sum(each.user + each.system for each in times)


def cosine(left: list[float], right: list[float]) -> float:
    product = sum(a * b for a, b in zip(left, right, strict=True))
    return product / math.sqrt(sum(a * a for a in left) * sum(b * b for b in right))
