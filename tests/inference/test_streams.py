"""Streams: bytes as they come, usage counted once, ends of every kind."""

import asyncio
import socket

import aiohttp
import orjson
import pytest
from aiohttp import web

from models.domain.inference.records import InferenceOutcome, UsageSource
from models.domain.inference.taps import LONGEST_HELD_BYTES
from models.settings import Settings
from tests.inference.model_server import (
    DONE,
    USAGE,
    USAGE_CHUNK,
    ModelServer,
    Script,
    breaking,
    breaking_body,
    chunk,
    endless,
    model_server,
    stalling,
    stream_of,
    streaming,
)
from tests.inference.running import Api, recorded, routable, serving, until
from tests.inference.world import MODEL, World
from tests.patience import GIVE_UP_S

WORDS = [chunk("one"), chunk(" two"), chunk(" three")]


async def test_a_stream_asks_for_usage_and_strips_the_extra_chunk(
    api: Api, world: World, upstream: ModelServer
) -> None:
    upstream.script = streaming(*WORDS, USAGE_CHUNK, DONE)
    async with api.chat(world.tenant.headers, stream=True, stream_options={"other": 1}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert await response.read() == b"".join([*WORDS, DONE])
    assert upstream.heard[0].body["stream_options"] == {"other": 1, "include_usage": True}
    [record] = await recorded(world, 1)
    assert (record.input_tokens, record.output_tokens, record.usage_source) == (7, 3, UsageSource.REPORTED)
    assert record.outcome is InferenceOutcome.SUCCEEDED
    assert record.is_stream
    assert record.first_byte_at is not None


async def test_who_asks_for_usage_gets_every_byte(api: Api, world: World, upstream: ModelServer) -> None:
    upstream.script = streaming(*WORDS, USAGE_CHUNK, DONE)
    async with api.chat(world.tenant.headers, stream=True, stream_options={"include_usage": True}) as response:
        assert await response.read() == b"".join([*WORDS, USAGE_CHUNK, DONE])
    [record] = await recorded(world, 1)
    assert record.output_tokens == 3


async def test_usage_with_the_last_content_stays_and_counts(api: Api, world: World, upstream: ModelServer) -> None:
    last = chunk("!", usage=USAGE)
    upstream.script = streaming(*WORDS, last, DONE)
    async with api.chat(world.tenant.headers, stream=True) as response:
        assert await response.read() == b"".join([*WORDS, last, DONE])
    [record] = await recorded(world, 1)
    assert (record.output_tokens, record.usage_source) == (3, UsageSource.REPORTED)


async def test_chunks_arrive_while_the_model_is_still_writing(api: Api, world: World, upstream: ModelServer) -> None:
    may_go_on = asyncio.Event()

    async def script(request: web.Request) -> web.StreamResponse:
        response = await stream_of(request)
        await response.write(WORDS[0])
        await may_go_on.wait()
        await response.write(DONE)
        return response

    upstream.script = script
    async with api.chat(world.tenant.headers, stream=True) as response:
        assert await asyncio.wait_for(response.content.readany(), GIVE_UP_S) == WORDS[0]
        may_go_on.set()
        assert await response.content.read() == DONE


async def test_a_stream_without_usage_is_estimated(api: Api, world: World, upstream: ModelServer) -> None:
    upstream.script = streaming(*WORDS, DONE)
    async with api.chat(world.tenant.headers, stream=True) as response:
        await response.read()
    [record] = await recorded(world, 1)
    assert record.usage_source is UsageSource.ESTIMATED
    assert (record.input_tokens, record.output_tokens) == (2, 4)  # 8 and 13 characters


async def test_an_error_in_the_stream_is_passed_and_recorded_as_a_failure(
    api: Api, world: World, upstream: ModelServer
) -> None:
    error = b'data: {"error": {"message": "out of memory"}}\n\n'
    upstream.script = streaming(WORDS[0], error)
    async with api.chat(world.tenant.headers, stream=True) as response:
        assert await response.read() == WORDS[0] + error
    [record] = await recorded(world, 1)
    assert record.outcome is InferenceOutcome.FAILED
    assert record.output_tokens == 1


async def test_the_callers_disconnect_frees_the_slot(api: Api, world: World, upstream: ModelServer) -> None:
    upstream.script = endless()
    response = await api.chat(world.tenant.headers, stream=True)
    for _ in range(5):
        await response.content.readany()
    assert upstream.running == 1
    response.close()
    await until(lambda: upstream.running == 0)
    assert upstream.cancelled == 1
    [record] = await recorded(world, 1)
    assert record.outcome is InferenceOutcome.CANCELLED
    assert record.usage_source is UsageSource.ESTIMATED
    assert record.output_tokens >= 5
    assert record.input_tokens == 2


async def test_litellm_13245_disconnect_nonstream(api: Api, world: World, upstream: ModelServer) -> None:
    """The caller of an unstreamed request goes away: nothing runs on unseen, and the request is on record."""

    async def never(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    upstream.script = never
    task = asyncio.create_task(api.chat(world.tenant.headers).__aenter__())
    await until(lambda: upstream.running == 1)
    task.cancel()
    await until(lambda: upstream.running == 0)
    [record] = await recorded(world, 1)
    assert record.outcome is InferenceOutcome.CANCELLED
    assert record.usage_source is UsageSource.ESTIMATED
    assert record.input_tokens == 2


async def test_litellm_30667_midstream_timeout_spend(settings: Settings, world: World) -> None:
    """The model server falls silent in the middle: the caller hears so, and what was spent is on record."""
    impatient = settings.model_copy(update={"upstream_stream_idle_timeout_s": 1.0})
    async with serving(impatient) as api, model_server(stalling(after=6)) as server:
        world.add_instance(server.port)
        await routable(api, world, 1)
        async with api.chat(world.tenant.headers, stream=True) as response:
            text = await response.read()
    events = text.split(b"\n\n")
    assert sum(b'"word"' in event for event in events) == 6
    assert orjson.loads(events[-2].removeprefix(b"data: "))["error"]["code"] == "upstream_timeout"
    assert b"[DONE]" not in text
    [record] = await recorded(world, 1)
    assert record.outcome is InferenceOutcome.INTERRUPTED
    assert record.usage_source is UsageSource.ESTIMATED
    assert record.output_tokens == 6
    assert record.input_tokens == 2


async def test_a_model_server_that_dies_in_the_middle(api: Api, world: World, upstream: ModelServer) -> None:
    upstream.script = breaking(after=3)
    async with api.chat(world.tenant.headers, stream=True) as response:
        assert b'"upstream_read_failed"' in await response.read()
    [record] = await recorded(world, 1)
    assert (record.outcome, record.output_tokens) == (InferenceOutcome.INTERRUPTED, 3)


def without_length(*pieces: bytes) -> Script:
    """An answer that ends where the connection does, as HTTP/1.0 servers and some gateways send it."""

    async def script(request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for piece in pieces:
            transport.write(piece)
        transport.close()
        return web.Response()

    return script


def ending(index: int = 0, reason: str = "stop") -> bytes:
    choice = {"index": index, "delta": {}, "finish_reason": reason}
    return b"data: " + orjson.dumps({"id": "x", "choices": [choice]}) + b"\n\n"


CUT = [
    pytest.param(streaming(*WORDS), WORDS, 4, id="chunked"),
    pytest.param(without_length(*WORDS), WORDS, 4, id="close-delimited"),
    pytest.param(without_length(*WORDS, DONE[:-5]), WORDS, 4, id="in the middle of the end"),
    pytest.param(streaming(), [], 0, id="empty"),
    pytest.param(without_length(), [], 0, id="empty, close-delimited"),
]


@pytest.mark.parametrize(("script", "passed", "output_tokens"), CUT)
async def test_a_stream_that_ends_without_saying_so_was_cut(
    script: Script, passed: list[bytes], output_tokens: int, *, api: Api, world: World, upstream: ModelServer
) -> None:
    upstream.script = script
    async with api.chat(world.tenant.headers, stream=True) as response:
        assert response.status == 200
        text = await response.read()
    *events, error, rest = text.split(b"\n\n")
    assert events == [event.removesuffix(b"\n\n") for event in passed]
    assert orjson.loads(error.removeprefix(b"data: "))["error"]["code"] == "upstream_read_failed"
    assert rest == b""
    [record] = await recorded(world, 1)
    assert (record.outcome, record.usage_source) == (InferenceOutcome.INTERRUPTED, UsageSource.ESTIMATED)
    assert (record.input_tokens, record.output_tokens) == (2, output_tokens)


async def test_an_event_that_was_cut_is_ended_before_the_error(api: Api, world: World, upstream: ModelServer) -> None:
    """The beginning of a long one has been passed on: the error must not become a line of the same event."""
    long = chunk("x" * 2 * LONGEST_HELD_BYTES)[:-9]
    upstream.script = without_length(WORDS[0], long)
    async with api.chat(world.tenant.headers, stream=True) as response:
        events = (await response.read()).split(b"\n\n")
    assert events[1] == long
    assert b'"upstream_read_failed"' in events[2]
    assert events[3:] == [b""]


async def test_one_of_two_choices_that_stays_open_is_cut(api: Api, world: World, upstream: ModelServer) -> None:
    second = WORDS[1].replace(b'"index":0', b'"index":1')
    upstream.script = streaming(WORDS[0], second, ending(0))
    async with api.chat(world.tenant.headers, stream=True, n=2) as response:
        assert b'"upstream_read_failed"' in await response.read()
    upstream.script = streaming(WORDS[0], second, ending(0), ending(1))
    async with api.chat(world.tenant.headers, stream=True, n=2) as response:
        assert b"error" not in await response.read()
    records = await recorded(world, 2)
    assert [record.outcome for record in records] == [InferenceOutcome.INTERRUPTED, InferenceOutcome.SUCCEEDED]


TEXT = b'data: {"choices": [{"index": 0, "text": "one", "finish_reason": null}]}\n\n'
LAST_TEXT = b'data: {"choices": [{"index": 0, "text": " two", "finish_reason": "length"}]}\n\n'


@pytest.mark.parametrize(
    ("path", "pieces"),
    [
        ("/v1/chat/completions", [*WORDS, DONE]),
        ("/v1/chat/completions", [*WORDS, ending()]),
        ("/v1/chat/completions", [*WORDS, ending(), USAGE_CHUNK]),
        ("/v1/completions", [TEXT, LAST_TEXT]),
        ("/v1/completions", [TEXT, DONE]),
        ("/v1/completions", [TEXT, LAST_TEXT[:-2]]),
    ],
    ids=["done", "reason", "reason and usage", "text, reason", "text, done", "text, last blank line missing"],
)
async def test_a_stream_has_ended_by_either_word(
    path: str, pieces: list[bytes], api: Api, world: World, upstream: ModelServer
) -> None:
    upstream.script = streaming(*pieces)
    body = {"model": MODEL, "messages": [], "prompt": "x", "stream": True}
    async with api.post(path, json=body, headers=world.tenant.headers) as response:
        assert await response.read() == b"".join(piece for piece in pieces if piece is not USAGE_CHUNK)
    [record] = await recorded(world, 1)
    assert record.outcome is InferenceOutcome.SUCCEEDED


async def test_a_text_completion_that_is_cut(api: Api, world: World, upstream: ModelServer) -> None:
    upstream.script = streaming(TEXT)
    body = {"model": MODEL, "prompt": "12345678", "stream": True}
    async with api.post("/v1/completions", json=body, headers=world.tenant.headers) as response:
        text = await response.read()
    assert text.startswith(TEXT)
    assert b'"upstream_read_failed"' in text
    [record] = await recorded(world, 1)
    assert (record.outcome, record.output_tokens) == (InferenceOutcome.INTERRUPTED, 1)


async def test_a_plain_body_that_breaks_off_is_not_taken_for_whole(
    api: Api, world: World, upstream: ModelServer
) -> None:
    upstream.script = breaking_body(b'{"choices": [', headers={"Content-Type": "application/json"})
    with pytest.raises(aiohttp.ClientPayloadError):
        async with api.chat(world.tenant.headers) as response:
            await response.read()
    [record] = await recorded(world, 1)
    assert record.outcome is InferenceOutcome.INTERRUPTED


async def test_a_large_answer_passes_in_pieces_and_its_usage_is_found(
    api: Api, world: World, upstream: ModelServer
) -> None:
    vectors = [{"object": "embedding", "index": index, "embedding": [0.25] * 1000} for index in range(400)]
    answer = orjson.dumps({"data": vectors, "usage": {"prompt_tokens": 4321, "total_tokens": 4321}})
    assert len(answer) > 1_000_000

    async def script(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=answer, content_type="application/json")

    upstream.script = script
    body = {"model": "echo", "input": "x"}
    async with api.post("/v1/embeddings", json=body, headers=world.tenant.headers) as response:
        assert await response.read() == answer
    [record] = await recorded(world, 1)
    assert (record.input_tokens, record.output_tokens, record.usage_source) == (4321, 0, UsageSource.REPORTED)


async def test_a_slow_reader_slows_the_model_down(api: Api, world: World, upstream: ModelServer) -> None:
    """Nothing is buffered without bound between a fast model and a caller that does not read."""
    written = 0

    async def script(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = await stream_of(request)
        piece = chunk("x" * 50_000)
        for _ in range(2_000):  # 100 MB
            await response.write(piece)
            written += len(piece)
        return response

    upstream.script = script
    body = orjson.dumps({"model": MODEL, "messages": [], "stream": True})
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-API-Key: {world.tenant.api_key}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    port = int(api.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.sendall(head.encode() + body)
        await until(lambda: written > 0)
        before = -1
        while before != written:
            before = written
            await asyncio.sleep(0.3)
        assert 0 < written < 60_000_000
    await until(lambda: upstream.running == 0)


@pytest.mark.parametrize("asked", [{}, {"stream_options": {"include_usage": True}}])
async def test_every_prompt_of_a_list_is_counted(
    api: Api, world: World, upstream: ModelServer, asked: dict[str, object]
) -> None:
    """As llama.cpp answers two prompts: an event `null`, and a report beside the end of each."""

    def end(index: int, given: int) -> bytes:
        usage = {"prompt_tokens": given, "completion_tokens": 6, "total_tokens": given + 6}
        choice = {"index": index, "text": "", "finish_reason": "length"}
        return b"data: " + orjson.dumps({"id": "x", "choices": [choice], "usage": usage}) + b"\n\n"

    upstream.script = streaming(b"data: null\n\n", end(1, 8), end(0, 7), DONE)
    body = {"model": MODEL, "prompt": ["one", "two"], "stream": True, **asked}
    async with api.post("/v1/completions", json=body, headers=world.tenant.headers) as response:
        *events, done, rest = (await response.read()).split(b"\n\n")
    assert (done, rest) == (DONE.strip(), b"")
    assert b"data: null" not in events
    [record] = await recorded(world, 1)
    assert (record.input_tokens, record.output_tokens, record.usage_source) == (15, 12, UsageSource.REPORTED)
    if asked:
        told = [orjson.loads(event[6:]) for event in events]
        assert [chunk["usage"] and chunk["usage"]["total_tokens"] for chunk in told] == [None, None, 27]


EARLY: list[tuple[str, dict[str, object], int]] = [
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x" * 400}]}, 100),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x" * 4}], "tools": [{"type": "y" * 396}]}, 101),
    ("/v1/completions", {"prompt": ["x" * 40, "y" * 40]}, 20),
    ("/v1/completions", {"prompt": [[1, 2, 3], [4, 5]]}, 5),
    ("/v1/embeddings", {"input": [1, 2, 3]}, 3),
]


async def test_a_call_cancelled_early_has_its_input(api: Api, world: World, upstream: ModelServer) -> None:
    async def silent(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    upstream.script = silent
    expected = []
    for path, asked, input_tokens in EARLY:
        for stream in (True, False):
            body = {"model": MODEL, "stream": stream, **asked}
            call = asyncio.create_task(api.post(path, json=body, headers=world.tenant.headers).__aenter__())
            expected.append((InferenceOutcome.CANCELLED, UsageSource.ESTIMATED, input_tokens, 0))
            await until(lambda: len(upstream.heard) == len(expected))
            call.cancel()
            await recorded(world, len(expected))
    records = await recorded(world, len(expected))
    assert [(r.outcome, r.usage_source, r.input_tokens, r.output_tokens) for r in records] == expected
