"""Answers in a content coding that nobody asked for."""

import gzip
import secrets

import aiohttp
import orjson
import pytest

from models.domain.inference.records import InferenceOutcome, UsageSource
from tests.inference.model_server import OPENAI_ERROR, USAGE, ModelServer, chunk, gzipped
from tests.inference.running import Api, recorded
from tests.inference.world import MODEL, World


async def test_no_content_coding_is_asked_for(api: Api, world: World, upstream: ModelServer) -> None:
    async with api.chat({**world.tenant.headers, "Accept-Encoding": "gzip, br"}) as response:
        assert "content-encoding" not in response.headers
    assert upstream.heard[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("size", [20, 2_000_000])
async def test_a_coded_answer_keeps_its_coding_and_its_bytes(
    size: int, api: Api, world: World, upstream: ModelServer
) -> None:
    answer = orjson.dumps({"choices": [{"message": {"content": secrets.token_hex(size)}}], "usage": USAGE})
    upstream.script = gzipped(answer)
    async with aiohttp.ClientSession(auto_decompress=False) as client:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "12345678"}]}
        url = f"{api.url}/v1/chat/completions"
        async with client.post(url, json=body, headers=world.tenant.headers) as response:
            coded = await response.read()
            assert response.headers["content-encoding"] == "gzip"
            assert response.headers["content-type"].startswith("application/json")
    assert gzip.decompress(coded) == answer
    [record] = await recorded(world, 1)
    assert (record.outcome, record.usage_source) == (InferenceOutcome.SUCCEEDED, UsageSource.ESTIMATED)
    assert (record.input_tokens, record.output_tokens) == (2, -(-len(coded) // 4))


async def test_a_coded_stream_is_not_cut_open(api: Api, world: World, upstream: ModelServer) -> None:
    """Its events cannot be told apart: nothing is taken out, and nothing added, though its end was not to be seen."""
    text = chunk("word") + chunk(usage=USAGE)
    upstream.script = gzipped(text, content_type="text/event-stream")
    async with api.chat(world.tenant.headers, stream=True) as response:
        assert await response.read() == text
        assert response.headers["content-encoding"] == "gzip"
    [record] = await recorded(world, 1)
    assert record.usage_source is UsageSource.ESTIMATED
    assert record.output_tokens > 0


async def test_a_coded_refusal_is_answered_in_our_words(api: Api, world: World, upstream: ModelServer) -> None:
    upstream.script = gzipped(orjson.dumps(OPENAI_ERROR), status=400)
    async with api.chat(world.tenant.headers) as response:
        assert response.status == 400
        assert "content-encoding" not in response.headers
        assert (await response.json())["error"]["code"] == "upstream_refused_request"
