"""The model servers of simulated machines, asked as a gateway asks them."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from tests.fakes.control_plane import ControlPlane, serving_key
from tests.simcloud.cloud_process import CloudProcess
from tests.simcloud.conftest import MODEL
from tests.simcloud.waiting import until

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "How are you today?"}]}


@dataclass
class Served:
    """One machine that serves, and its caller."""

    cloud: CloudProcess
    plane: ControlPlane
    session: aiohttp.ClientSession
    machine_id: str
    key: str

    def post(self, path: str, body: Any, key: str | None = None, **knobs: object) -> Any:
        headers = {"Authorization": f"Bearer {self.key if key is None else key}"}
        headers |= {f"x-sim-{name.replace('_', '-')}": str(value) for name, value in knobs.items()}
        return self.session.post(self.cloud.url + path, json=body, headers=headers)

    def ledger(self) -> dict[str, Any]:
        return self.cloud.get("/sim/inference", machine_id=self.machine_id)

    def agent(self) -> dict[str, Any]:
        return self.cloud.get(f"/sim/instances/{self.machine_id}/agent")


@pytest.fixture
async def served(
    shared_cloud: CloudProcess,
    plane: ControlPlane,
    session: aiohttp.ClientSession,
    order: Callable[..., dict[str, Any]],
    user_data: Callable[..., str],
) -> Served:
    machine = shared_cloud.post("/v1/instances", **order(user_data=user_data(plane, "i1")))["id"]
    one = Served(shared_cloud, plane, session, machine, serving_key("i1"))
    await until(lambda: any(beat.body["phase"] == "serving" for beat in plane.beats))
    return one


async def chunks_of(response: aiohttp.ClientResponse) -> list[Any]:
    """The events of a stream; the last one must be the end marker."""
    assert response.headers["Content-Type"].startswith("text/event-stream")
    events = [line[6:] for line in (await response.read()).split(b"\n\n") if line]
    assert events.pop() == b"[DONE]"
    return [json.loads(event) for event in events]


async def test_chat_counts_what_it_says(served: Served) -> None:
    async with served.post("/v1/chat/completions", CHAT) as response:
        assert response.status == 200
        body = await response.json()
    text = body["choices"][0]["message"]["content"]
    assert text == "echo from the simulated cloud: How are you today?"
    assert (body["object"], body["model"], body["choices"][0]["finish_reason"]) == ("chat.completion", MODEL, "stop")
    assert body["usage"] == {"prompt_tokens": 5, "completion_tokens": 13, "total_tokens": 18}
    totals = served.ledger()["totals"]
    assert (totals["requests"], totals["completed"], totals["prompt_tokens"], totals["completion_tokens"]) == (
        1,
        1,
        5,
        13,
    )


@pytest.mark.parametrize("include_usage", [False, True])
async def test_a_stream_has_role_words_finish_and_usage_if_asked(served: Served, include_usage: bool) -> None:
    asked = CHAT | {"stream": True} | ({"stream_options": {"include_usage": True}} if include_usage else {})
    async with served.post("/v1/chat/completions", asked) as response:
        assert (response.headers["Cache-Control"], response.headers["X-Accel-Buffering"]) == ("no-cache", "no")
        chunks = await chunks_of(response)
    usage = chunks.pop() if include_usage else None
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == (
        "echo from the simulated cloud: How are you today?"
    )
    assert all(("usage" in chunk) is include_usage for chunk in chunks)
    assert len({chunk["id"] for chunk in chunks}) == 1
    if usage is not None:
        assert usage["choices"] == []
        assert usage["usage"] == {"prompt_tokens": 5, "completion_tokens": 13, "total_tokens": 18}


async def test_max_tokens_cuts_the_answer(served: Served) -> None:
    async with served.post("/v1/chat/completions", CHAT | {"max_tokens": 3}) as response:
        body = await response.json()
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 3


async def test_completions(served: Served) -> None:
    async with served.post("/v1/completions", {"model": MODEL, "prompt": "once"}) as response:
        body = await response.json()
    assert (body["object"], body["choices"][0]["text"]) == ("text_completion", "echo from the simulated cloud: once")
    async with served.post("/v1/completions", {"model": MODEL, "prompt": "once", "stream": True}) as response:
        assert "".join(chunk["choices"][0]["text"] for chunk in await chunks_of(response)).endswith(" once")


async def test_embeddings_are_stable_and_of_length_one(served: Served) -> None:
    async with served.post("/v1/embeddings", {"model": MODEL, "input": ["a", "b", "a"]}) as response:
        vectors = [each["embedding"] for each in (await response.json())["data"]]
    assert vectors[0] == vectors[2] != vectors[1]
    assert sum(value * value for value in vectors[0]) == pytest.approx(1.0)
    asked = {"model": MODEL, "input": "a", "encoding_format": "base64"}
    async with served.post("/v1/embeddings", asked) as response:
        packed = base64.b64decode((await response.json())["data"][0]["embedding"])
    assert struct.unpack(f"<{len(packed) // 4}f", packed) == pytest.approx(vectors[0])


async def test_models_and_health(served: Served) -> None:
    headers = {"Authorization": f"Bearer {served.key}"}
    async with served.session.get(f"{served.cloud.url}/v1/models", headers=headers) as response:
        assert [model["id"] for model in (await response.json())["data"]] == [MODEL]
    async with served.session.get(f"{served.cloud.url}/health") as response:
        assert await response.json() == {"status": "ok"}


@pytest.mark.parametrize("key", ["", "unknown", "cloud-token-of-the-tests"])
async def test_an_unknown_key_is_refused(served: Served, key: str) -> None:
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
        async with served.post(path, CHAT, key=key) as response:
            assert response.status == 401
            assert (await response.json())["error"]["code"] == "invalid_api_key"
    assert served.ledger()["totals"]["requests"] == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (CHAT | {"model": "another"}, 404),
        ({"messages": CHAT["messages"]}, 404),
        ({"model": MODEL}, 400),
        ({"model": MODEL, "messages": []}, 400),
        ({"model": MODEL, "messages": ["x"]}, 400),
        ({"model": MODEL, "messages": [{"content": 5}]}, 400),
        ({"model": MODEL, "messages": [{"content": "no role"}]}, 400),
        ({"model": MODEL, "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400),
        (CHAT | {"tools": [{"type": "function", "function": {"name": "f"}}]}, 400),
        (CHAT | {"max_tokens": 0}, 400),
        (CHAT | {"max_tokens": "x"}, 400),
        ([], 400),
        ("x", 400),
    ],
)
async def test_bad_bodies(served: Served, body: Any, status: int) -> None:
    async with served.post("/v1/chat/completions", body) as response:
        assert response.status == status
        assert set((await response.json())["error"]) == {"message", "type", "param", "code"}


async def test_a_client_that_leaves_is_noticed_and_its_slot_freed(served: Served) -> None:
    asked = CHAT | {"stream": True}
    async with served.post("/v1/chat/completions", asked, chunks=1000, chunk_delay_ms=20) as response:
        await response.content.readany()
        assert served.agent()["slots_busy"] == 1
        response.close()
    await until(lambda: served.agent()["slots_busy"] == 0)
    (entry,) = served.ledger()["requests"]
    assert entry["outcome"] == "cancelled"
    assert 0 < entry["chunks"] < 200
    assert entry["completion_tokens"] < 100


async def test_slots_and_queue_are_reported(served: Served) -> None:
    async def ask() -> int:
        async with served.post("/v1/chat/completions", CHAT, delay_ms=1000) as response:
            return int(response.status)

    asked = [asyncio.create_task(ask()) for _ in range(5)]
    full = await until(lambda: [beat.body for beat in served.plane.beats if beat.body["queue_depth"] == 3])
    assert full[0]["slots_busy"] == 2
    assert full[0]["metadata"]["gpus"][0]["gpu_utilization"] == 100.0
    assert await asyncio.gather(*asked) == [200] * 5
    await until(lambda: served.plane.beats[-1].body["slots_busy"] == 0)


async def test_a_stream_that_breaks(served: Served) -> None:
    asked = CHAT | {"stream": True}
    with pytest.raises(aiohttp.ClientError):
        async with served.post("/v1/chat/completions", asked, fail_after_chunks=3) as response:
            await response.read()
    (entry,) = served.ledger()["requests"]
    assert (entry["outcome"], entry["chunks"]) == ("failed", 3)


async def test_a_status_that_was_asked_for_by_header_or_by_the_machine(served: Served) -> None:
    async with served.post("/v1/chat/completions", CHAT, status=503) as response:
        assert response.status == 503
    served.cloud.put(f"/sim/instances/{served.machine_id}/serving", status=500)
    async with served.post("/v1/chat/completions", CHAT) as response:
        assert response.status == 500
    async with served.post("/v1/chat/completions", CHAT, status=429) as response:
        assert response.status == 429
    assert [each["outcome"] for each in served.ledger()["requests"]] == ["failed"] * 3


@pytest.mark.parametrize("knob", [{"chunks": 0}, {"chunks": "x"}, {"status": 200}, {"delay_ms": -1}])
async def test_a_knob_out_of_range_is_refused(served: Served, knob: dict[str, Any]) -> None:
    async with served.post("/v1/chat/completions", CHAT, **knob) as response:
        assert response.status == 400


async def test_a_dead_machine_drops_the_connection_and_a_hung_one_never_answers(served: Served) -> None:
    served.cloud.post(f"/sim/instances/{served.machine_id}/agent", action="die")
    with pytest.raises(aiohttp.ClientError):
        async with served.post("/v1/chat/completions", CHAT):
            pass
    served.cloud.post(f"/sim/instances/{served.machine_id}/agent", action="hang")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5), served.post("/v1/chat/completions", CHAT):
            pass


async def test_a_machine_that_is_gone_drops_the_connection(served: Served) -> None:
    served.cloud.post(f"/sim/instances/{served.machine_id}/kill")
    with pytest.raises(aiohttp.ClientError):
        async with served.post("/v1/chat/completions", CHAT):
            pass


async def test_no_prompt_is_kept(served: Served) -> None:
    planted = "planted-prompt-5f2a"
    asked = {"model": MODEL, "messages": [{"role": "user", "content": planted}]}
    async with served.post("/v1/chat/completions", asked) as response:
        assert planted in await response.text()
    assert served.ledger()["totals"]["completed"] == 1
    await asyncio.sleep(0.1)
    kept = served.cloud.database.read_bytes() + served.cloud.database.with_name("cloud.db-wal").read_bytes()
    assert planted.encode() not in kept
    assert planted not in served.cloud.log()


@pytest.mark.parametrize("prompt", [["one", "two words"], [[1, 2], [3]], "one"])
async def test_each_prompt_has_its_choices_and_every_one_is_counted(served: Served, prompt: Any) -> None:
    asked = {"model": MODEL, "prompt": prompt, "n": 2}
    async with served.post("/v1/completions", asked) as response:
        body = await response.json()
    prompts = [prompt] if isinstance(prompt, str) else prompt
    given = sum(math.ceil(len(each) / 4) if isinstance(each, str) else len(each) for each in prompts)
    made = [math.ceil(len(choice["text"]) / 4) for choice in body["choices"]]
    assert [choice["index"] for choice in body["choices"]] == list(range(2 * len(prompts)))
    assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) == (given, sum(made))
    stream = asked | {"stream": True, "stream_options": {"include_usage": True}}
    async with served.post("/v1/completions", stream) as response:
        *chunks, last = await chunks_of(response)
    texts = ["" for _ in made]
    for chunk in chunks:
        texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
    assert texts == [choice["text"] for choice in body["choices"]]
    assert last["usage"] == body["usage"]
