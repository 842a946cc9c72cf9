"""Calls with an Idempotency-Key: paid for once, whoever goes away."""

import asyncio
from datetime import timedelta

import pytest
from aiohttp import web
from sqlalchemy import text
from sqlmodel import Session

from api.inference.composition import Inference
from api.inference.detached import LARGEST_ANSWER_BYTES, DetachedCalls
from models.base.clock import utc_now
from models.domain.inference.records import InferenceOutcome
from models.settings import Settings
from tests.inference.model_server import DONE, ModelServer, chunk, gzipped, model_server, refusing, stream_of, streaming
from tests.inference.running import Api, recorded, routable, serving, until
from tests.inference.world import Tenant, World


def keyed(world: World, key: str = "call-1") -> dict[str, str]:
    return {**world.tenant.headers, "Idempotency-Key": key}


class Held:
    """An answer that waits to be released."""

    def __init__(self) -> None:
        self.release = asyncio.Event()

    async def __call__(self, _request: web.Request) -> web.StreamResponse:
        await self.release.wait()
        return web.json_response({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})


async def test_the_second_try_gets_the_first_answer(api: Api, world: World, upstream: ModelServer) -> None:
    async with api.chat(keyed(world)) as response:
        first = await response.read()
        instance = response.headers["x-quarterdeck-instance"]
        assert "idempotent-replayed" not in response.headers
    async with api.chat(keyed(world)) as response:
        assert response.status == 200
        await response.read()  # the end comes when the answer is kept
        assert await response.read() == first
        assert response.headers["idempotent-replayed"] == "true"
        assert response.headers["x-quarterdeck-instance"] == instance
        assert response.headers["content-type"].startswith("application/json")
    assert len(upstream.heard) == 1
    await recorded(world, 1)


async def test_it_goes_on_without_its_caller(api: Api, world: World, upstream: ModelServer) -> None:
    held = upstream.script = Held()
    task = asyncio.create_task(api.chat(keyed(world)).__aenter__())
    await until(lambda: upstream.running == 1)
    task.cancel()
    await asyncio.sleep(0.2)
    assert upstream.running == 1
    async with api.chat(keyed(world)) as response:
        assert response.status == 409
        assert response.headers["retry-after"] == "1"
        assert (await response.json())["error"]["code"] == "idempotency_in_progress"
    held.release.set()
    await until(lambda: any(result.status_code == 200 for result in world.results()))
    async with api.chat(keyed(world)) as response:
        assert response.status == 200
        await response.read()
        assert response.headers["idempotent-replayed"] == "true"
    assert len(upstream.heard) == 1
    [record] = await recorded(world, 1)
    assert (record.outcome, record.output_tokens) == (InferenceOutcome.SUCCEEDED, 2)


async def test_fifty_at_once_pay_once(api: Api, world: World, upstream: ModelServer) -> None:
    held = upstream.script = Held()

    async def one() -> int:
        async with api.chat(keyed(world)) as response:
            return int(response.status)

    calls = [asyncio.create_task(one()) for _ in range(50)]
    await until(lambda: sum(call.done() for call in calls) == 49)
    held.release.set()
    assert sorted(await asyncio.gather(*calls)) == [200] + [409] * 49
    assert len(upstream.heard) == 1


async def test_nobody_takes_the_places_of_all(settings: Settings, world: World) -> None:
    """16 at a time for a principal and 32 for an organization, also for those that come at the same moment."""
    other = world.add_tenant("other")
    keys = [world.add_key(world.tenant, f"key-{number}") for number in range(2)]
    held = Held()
    async with (
        serving(settings) as api,
        model_server(held) as server,
    ):
        for owner in (world.tenant, other):
            world.add_instance(server.port, tenant=owner)
        await routable(api, world, 1)

        async def one(tenant: Tenant, number: int) -> int:
            async with api.chat({**tenant.headers, "Idempotency-Key": f"call-{number}"}) as response:
                assert response.status == 200 or response.headers["retry-after"] == "1"
                return int(response.status)

        calls: list[asyncio.Task[int]] = []
        for tenant, asked, running in (
            (world.tenant, 20, 16), (keys[0], 20, 32), (keys[1], 2, 32), (other, 3, 35)
        ):  # fmt: skip
            calls += [asyncio.create_task(one(tenant, number)) for number in range(asked)]
            await until(lambda: server.running + sum(call.done() for call in calls) == len(calls))  # noqa: B023
            assert server.running == running
        held.release.set()
        assert sorted(await asyncio.gather(*calls)) == [200] * 35 + [429] * 10
        await until(lambda: not api.state.of(Inference)._detached._running)
        assert await one(world.tenant, 100) == 200


async def test_another_body_is_refused(api: Api, world: World, upstream: ModelServer) -> None:
    async with api.chat(keyed(world), temperature=0) as response:
        assert response.status == 200
        await response.read()
    async with api.chat(keyed(world), temperature=1) as response:
        assert response.status == 409
        assert (await response.json())["error"]["code"] == "idempotency_mismatch"
    async with api.post("/v1/completions", json={"model": "echo", "prompt": "x"}, headers=keyed(world)) as response:
        assert response.status == 200  # another route, another scope
    assert len(upstream.heard) == 2


async def test_keys_of_others_are_others(api: Api, world: World, upstream: ModelServer) -> None:
    async with api.chat(keyed(world)) as response:
        assert response.status == 200
        await response.read()
    other = world.add_tenant("other")
    async with api.chat({**other.headers, "Idempotency-Key": "call-1"}) as response:
        assert response.status == 503  # its own organization has no instance, and nothing is replayed to it
    assert len(upstream.heard) == 1


async def test_a_failure_frees_the_key(api: Api, world: World, upstream: ModelServer) -> None:
    for status in (500, 503, 429):
        upstream.script = refusing(status, {"error": "no"})
        async with api.chat(keyed(world)) as response:
            assert response.status == status
        await until(lambda: world.results() == [])
    upstream.script = None
    async with api.chat(keyed(world)) as response:
        assert response.status == 200
        await response.read()
        assert "idempotent-replayed" not in response.headers


async def test_a_final_refusal_is_kept(api: Api, world: World, upstream: ModelServer) -> None:
    upstream.script = refusing(400, {"error": {"message": "too long"}})
    for _ in range(2):
        async with api.chat(keyed(world)) as response:
            assert response.status == 400
            assert await response.json() == {"error": {"message": "too long"}}
    assert len(upstream.heard) == 1


async def test_a_stream_is_replayed_as_a_stream(api: Api, world: World, upstream: ModelServer) -> None:
    upstream.script = streaming(chunk("a"), chunk("b"), DONE)
    answers = []
    for _ in range(2):
        async with api.chat(keyed(world), stream=True) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            answers.append(await response.read())
    assert answers[0] == answers[1] == chunk("a") + chunk("b") + DONE
    assert len(upstream.heard) == 1


async def test_a_stream_that_breaks_off_is_not_kept(api: Api, world: World, upstream: ModelServer) -> None:
    async def script(request: web.Request) -> web.StreamResponse:
        response = await stream_of(request)
        await response.write(chunk("a"))
        await asyncio.sleep(0.05)
        assert request.transport is not None
        request.transport.close()
        return response

    upstream.script = script
    async with api.chat(keyed(world), stream=True) as response:
        assert b"upstream_read_failed" in await response.read()
    await until(lambda: world.results() == [])


async def test_a_stream_that_ends_without_saying_so_is_not_kept(api: Api, world: World, upstream: ModelServer) -> None:
    upstream.script = streaming(chunk("a"))
    async with api.chat(keyed(world), stream=True) as response:
        assert b"upstream_read_failed" in await response.read()
    await until(lambda: world.results() == [])


async def test_an_answer_in_a_coding_is_not_kept(api: Api, world: World, upstream: ModelServer) -> None:
    upstream.script = gzipped(b'{"choices": []}')
    for _ in range(2):
        async with api.chat(keyed(world)) as response:
            assert await response.json() == {"choices": []}
            assert "idempotent-replayed" not in response.headers
        await until(lambda: world.results() == [])
    assert len(upstream.heard) == 2


async def test_a_dead_process_frees_the_key_after_its_lease(api: Api, world: World, upstream: ModelServer) -> None:
    async with api.chat(keyed(world)) as response:
        assert response.status == 200
        await response.read()
    with Session(world._engine) as session:  # as if its process had died in the middle
        session.execute(
            text("UPDATE inference_results SET status_code = NULL, body = NULL, lease_until = now() + '1 min'")
        )
        session.commit()
    async with api.chat(keyed(world)) as response:
        assert response.status == 409
    with Session(world._engine) as session:
        session.execute(text("UPDATE inference_results SET lease_until = now() - interval '1 s'"))
        session.commit()
    async with api.chat(keyed(world)) as response:
        assert response.status == 200
        await response.read()
    assert len(upstream.heard) == 2


async def test_answers_expire_and_are_purged(api: Api, world: World, upstream: ModelServer) -> None:
    async with api.chat(keyed(world)) as response:
        assert response.status == 200
        await response.read()
    [kept] = world.results()
    assert timedelta(hours=23) < kept.expires_at - utc_now() <= timedelta(hours=24)
    with Session(world._engine) as session:
        session.execute(text("UPDATE inference_results SET expires_at = now() - interval '1 s'"))
        session.commit()
    async with api.chat(keyed(world), temperature=1) as response:
        assert response.status == 200
        await response.read()
    assert len(upstream.heard) == 2
    with Session(world._engine) as session:
        session.execute(text("UPDATE inference_results SET expires_at = now() - interval '1 s'"))
        session.commit()
    recorder = api.state.of(Inference)._recorder
    recorder._purged_at_s = float("-inf")
    await until(lambda: world.results() == [])


async def test_the_database_holds_no_conversation(api: Api, world: World, upstream: ModelServer) -> None:
    async def script(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"choices": [{"message": {"content": "planted-answer"}}]})

    upstream.script = script
    async with api.chat(keyed(world), messages=[{"role": "user", "content": "planted-question"}]) as response:
        assert response.status == 200
        await response.read()
    await until(lambda: any(result.status_code for result in world.results()))
    with Session(world._engine) as session:
        rows = session.execute(text("SELECT r::text, encode(r.body, 'escape') FROM inference_results r")).all()
    assert rows
    assert "planted" not in str(rows)


async def test_bad_keys(api: Api, world: World) -> None:
    for key in ("", "x" * 256, "tab\there", "\u00e9"):
        async with api.chat(keyed(world, key)) as response:
            assert response.status == 400


async def test_an_answer_too_long_to_keep_still_reaches_its_caller(
    api: Api, world: World, upstream: ModelServer
) -> None:
    body = b'{"data": "' + b"x" * LARGEST_ANSWER_BYTES + b'"}'

    async def script(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json")

    upstream.script = script
    async with api.chat(keyed(world)) as response:
        assert await response.read() == body
    await until(lambda: world.results() == [])


async def test_stopping_gives_the_key_back(
    api: Api, world: World, upstream: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.inference.detached.DRAIN_S", 0.1)
    upstream.script = Held()
    task = asyncio.create_task(api.chat(keyed(world)).__aenter__())
    await until(lambda: upstream.running == 1)
    detached: DetachedCalls = api.state.of(Inference)._detached
    await detached.close()
    await until(lambda: upstream.running == 0)
    assert world.results() == []
    [record] = await recorded(world, 1)
    assert record.outcome is InferenceOutcome.INTERRUPTED
    response = await task
    assert response.status == 503
    response.close()
