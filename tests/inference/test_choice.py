"""Which instance takes a request, and who takes over."""

import asyncio
import collections
import socket
from uuid import UUID

import pytest
from aiohttp import web

from api.inference import penalties
from api.inference.composition import Inference
from models.domain.fleet.instances.state import InstanceStatus
from models.domain.inference.records import InferenceOutcome
from models.settings import Settings
from tests.inference.model_server import Script, breaking, model_server, refusing, stream_of
from tests.inference.running import Api, asked_first, recorded, routable, serving, until
from tests.inference.world import World


async def disconnecting(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def silent_after_head(request: web.Request) -> web.StreamResponse:
    response = await stream_of(request)
    assert request.transport is not None
    request.transport.close()
    return response


@pytest.mark.parametrize(
    "script",
    [
        refusing(503, {"error": "loading"}),
        refusing(429, {"error": {"message": "the queue is full"}}, {"Retry-After": "9"}),
        refusing(401, {}),
        disconnecting,
    ],
    ids=["503", "429", "401", "disconnect"],
)
async def test_another_instance_takes_over_before_the_first_byte(script: Script, api: Api, world: World) -> None:
    async with model_server(script) as bad, model_server() as good:
        bad_id = world.add_instance(bad.port, queue_depth=0)
        good_id = world.add_instance(good.port, queue_depth=9)
        await routable(api, world, 2)
        async with api.chat(world.tenant.headers) as response:
            assert response.status == 200
            assert response.headers["x-quarterdeck-instance"] == str(good_id)
    first, second = await recorded(world, 2)
    assert (first.instance_id, first.outcome, first.retried_as) == (bad_id, InferenceOutcome.FAILED, second.id)
    assert (second.instance_id, second.outcome, second.retried_as) == (good_id, InferenceOutcome.SUCCEEDED, None)
    assert first.request_id == second.request_id
    assert first.input_tokens + first.output_tokens == 0
    assert (second.input_tokens, second.output_tokens) == (7, 3)


@pytest.mark.parametrize("status", [502, 504])
async def test_what_may_still_be_at_work_is_not_asked_of_another(api: Api, world: World, status: int) -> None:
    """A load balancer that gives up waiting says nothing of the server behind it."""
    async with model_server(refusing(status, {})) as slow, model_server() as idle:
        slow_id = world.add_instance(slow.port, queue_depth=0)
        world.add_instance(idle.port, queue_depth=9)
        await routable(api, world, 2)
        async with api.chat(world.tenant.headers) as response:
            assert response.status == status
    [only] = await recorded(world, 1)
    assert (only.instance_id, only.retried_as) == (slow_id, None)


async def test_a_stream_that_dies_before_its_first_byte_is_retried(api: Api, world: World) -> None:
    async with model_server(silent_after_head) as bad, model_server(silent_after_head) as good:
        world.add_instance(bad.port, queue_depth=0)
        world.add_instance(good.port, queue_depth=9)
        good.script = None
        await routable(api, world, 2)
        async with api.chat(world.tenant.headers, stream=True) as response:
            assert response.status == 200
            assert b"hello" in await response.read()
    assert len(await recorded(world, 2)) == 2


async def test_an_unreachable_instance_is_passed_over(api: Api, world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead_port = taken.getsockname()[1]
    async with model_server() as good:
        world.add_instance(dead_port, queue_depth=0)
        world.add_instance(good.port, queue_depth=9)
        await routable(api, world, 2)
        async with api.chat(world.tenant.headers) as response:
            assert response.status == 200


async def test_there_is_one_retry_and_no_more(api: Api, world: World) -> None:
    async with model_server(refusing(503, {})) as a, model_server(refusing(503, {})) as b, model_server() as good:
        world.add_instance(a.port, queue_depth=0)
        world.add_instance(b.port, queue_depth=1)
        world.add_instance(good.port, queue_depth=2)
        await routable(api, world, 3)
        async with api.chat(world.tenant.headers) as response:
            assert response.status == 503
            assert response.headers["retry-after"]
            assert (await response.json())["error"]["code"] == "upstream_unavailable"
        assert good.heard == []
    rows = await recorded(world, 2)
    assert [row.retried_as for row in rows] == [rows[1].id, None]


@pytest.mark.parametrize("status", [429, 503])
async def test_the_second_refusal_is_the_answer(status: int, api: Api, world: World) -> None:
    words = [{"error": {"message": "the first is busy"}}, {"error": {"message": "the second is busy"}}]
    first = refusing(status, words[0], {"Retry-After": "7"})
    second = refusing(status, words[1], {"Retry-After": "8"})
    async with model_server(first) as a, model_server(second) as b:
        ids = [world.add_instance(a.port, queue_depth=0), world.add_instance(b.port, queue_depth=1)]
        await routable(api, world, 2)
        async with api.chat(world.tenant.headers) as response:
            assert response.status == status
            assert await response.json() == words[1]
            assert response.headers["retry-after"] == "8"
            assert response.headers["x-quarterdeck-instance"] == str(ids[1])
        assert (len(a.heard), len(b.heard)) == (1, 1)
    rows = await recorded(world, 2)
    assert [row.retried_as for row in rows] == [rows[1].id, None]
    assert [(row.outcome, row.http_status) for row in rows] == [(InferenceOutcome.FAILED, status)] * 2
    assert sum(row.input_tokens + row.output_tokens for row in rows) == 0


async def test_a_failed_request_is_not_run_again_elsewhere(api: Api, world: World) -> None:
    """A 500 says that the server tried: another may fail in the same way, and nobody knows what the first has spent."""
    async with asked_first(api, world, refusing(500, {})) as (_bad, other):
        async with api.chat(world.tenant.headers) as response:
            assert response.status == 500
        assert other.heard == []
    await recorded(world, 1)


def dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


async def statuses(api: Api, world: World, count: int, pause_s: float = 0.0) -> list[int]:
    found = []
    for _ in range(count):
        async with api.chat(world.tenant.headers) as response:
            found.append(response.status)
        await asyncio.sleep(pause_s)
    return found


async def test_the_dead_attract_no_traffic(api: Api, world: World) -> None:
    """They are always idle. Two of them must not take the first call and the retry of every other request."""
    async with model_server() as good:
        world.add_instance(dead_port(), queue_depth=0)
        world.add_instance(dead_port(), queue_depth=0)
        world.add_instance(good.port, queue_depth=9)
        await routable(api, world, 3)
        assert await statuses(api, world, 20) == [502] + [200] * 19
    rows = await recorded(world, 21)
    assert rows[0].retried_as == rows[1].id
    assert [row.outcome for row in rows[2:]] == [InferenceOutcome.SUCCEEDED] * 19


async def test_finding_out_whether_the_dead_are_back_fails_no_request(
    api: Api, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their penalties end together: who tries the one must not be sent to the other."""
    monkeypatch.setattr(penalties, "FIRST_PENALTY_S", 0.05)
    monkeypatch.setattr(penalties, "LONGEST_PENALTY_S", 0.1)
    async with model_server() as good:
        dead = {world.add_instance(dead_port(), queue_depth=0) for _ in range(2)}
        world.add_instance(good.port, queue_depth=9)
        await routable(api, world, 3)
        assert await statuses(api, world, 40, pause_s=0.02) == [502] + [200] * 39
    await until(lambda: sum(row.outcome is InferenceOutcome.SUCCEEDED for row in world.requests()) == 39)
    assert sum(row.instance_id in dead for row in world.requests()) >= 6  # they were tried again


async def test_one_that_is_back_takes_requests_again(api: Api, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(penalties, "FIRST_PENALTY_S", 1.0)
    async with model_server(disconnecting) as late, model_server() as good:
        late_id = world.add_instance(late.port, queue_depth=0)
        world.add_instance(good.port, queue_depth=9)
        await routable(api, world, 2)
        assert await statuses(api, world, 5) == [200] * 5
        assert len(late.heard) == 1
        late.script = None
        assert await statuses(api, world, 12, pause_s=0.1) == [200] * 12
        async with api.chat(world.tenant.headers) as response:
            assert response.headers["x-quarterdeck-instance"] == str(late_id)
    assert not api.state.of(Inference)._knowledge.penalties


async def test_where_all_are_penalised_they_are_tried(api: Api, world: World) -> None:
    async with model_server(disconnecting) as a, model_server(disconnecting) as b:
        world.add_instance(a.port)
        world.add_instance(b.port)
        await routable(api, world, 2)
        assert await statuses(api, world, 3) == [502] * 3
        assert len(a.heard) == len(b.heard) == 3
        b.script = None
        assert await statuses(api, world, 6) == [200] * 6
        assert len(a.heard) <= 4  # at most once more, before b was known to be back


async def test_a_session_passes_over_what_is_dead(api: Api, world: World) -> None:
    headers = {**world.tenant.headers, "X-Quarterdeck-Session": "a conversation"}
    async with model_server() as a, model_server() as b, model_server() as c:
        servers = {str(world.add_instance(server.port)): server for server in (a, b, c)}
        await routable(api, world, 3)
        async with api.chat(headers) as response:
            home = response.headers["x-quarterdeck-instance"]
        servers[home].script = disconnecting
        found = set()
        for _ in range(6):
            async with api.chat(headers) as response:
                assert response.status == 200
                found.add(response.headers["x-quarterdeck-instance"])
    assert len(found) == 1
    assert home not in found
    assert len(servers[home].heard) == 2  # the first request and the one that found out


async def test_the_penalties_of_the_gone_are_forgotten(api: Api, world: World) -> None:
    gone = world.add_instance(dead_port())
    await routable(api, world, 1)
    assert await statuses(api, world, 1) == [502]
    knowledge = api.state.of(Inference)._knowledge
    assert knowledge.penalties
    world.change_instance(gone, status=InstanceStatus.TERMINATED)
    await routable(api, world, 0)
    assert not knowledge.penalties


async def test_nothing_is_retried_after_a_byte(api: Api, world: World) -> None:
    async with asked_first(api, world, breaking(after=1)) as (_bad, other):
        async with api.chat(world.tenant.headers, stream=True) as response:
            assert response.status == 200
            await response.read()
        assert other.heard == []
    assert len(await recorded(world, 1)) == 1


async def test_a_timeout_is_not_retried(settings: Settings, world: World) -> None:
    """The first server may still be working: asking another would pay twice."""

    async def never(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    impatient = settings.model_copy(update={"upstream_timeout_s": 1.5})
    async with serving(impatient) as api, asked_first(api, world, never) as (slow, other):
        async with api.chat(world.tenant.headers) as response:
            assert response.status == 504
        assert other.heard == []
        await until(lambda: slow.running == 0)
    [record] = await recorded(world, 1)
    assert (record.outcome, record.input_tokens) == (InferenceOutcome.INTERRUPTED, 2)


@pytest.mark.parametrize("header", ["X-Quarterdeck-Session", "X-Inventiv-Session"])
async def test_a_session_stays_where_it_is_while_others_come_and_go(header: str, api: Api, world: World) -> None:
    async def instance_of(session: str) -> str:
        async with api.chat({**world.tenant.headers, header: session}) as response:
            assert response.status == 200
            return str(response.headers["x-quarterdeck-instance"])

    async with model_server() as server:
        ids = [world.add_instance(server.port) for _ in range(4)]
        await routable(api, world, 4)
        before = {f"session-{number}": await instance_of(f"session-{number}") for number in range(12)}
        assert len(set(before.values())) > 1
        assert all([await instance_of(session) == instance for session, instance in before.items()])
        gone = before["session-0"]
        world.change_instance(UUID(gone), status=InstanceStatus.DRAINING)
        await routable(api, world, 3)
        world.add_instance(server.port)
        await routable(api, world, 4)
        after = {session: await instance_of(session) for session in before}
        moved = {session for session in before if before[session] != after[session]}
        newcomer = set(after.values()) - {str(identifier) for identifier in ids}
        assert all(before[session] == gone or after[session] in newcomer for session in moved)
        assert "session-0" in moved
        assert {heard.headers.get("x-quarterdeck-session") for heard in server.heard} == set(before)


async def test_requests_spread_over_idle_instances(api: Api, world: World) -> None:
    async with model_server() as server:
        for _ in range(3):
            world.add_instance(server.port)
        await routable(api, world, 3)
        counts: collections.Counter[str] = collections.Counter()
        for _ in range(9):
            async with api.chat(world.tenant.headers) as response:
                counts[response.headers["x-quarterdeck-instance"]] += 1
    assert sorted(counts.values()) == [3, 3, 3]


async def test_the_least_busy_instance_comes_first(api: Api, world: World) -> None:
    release = asyncio.Event()

    async def held(_request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.json_response({"choices": []})

    async with model_server(held) as busy, model_server(held) as idle:
        world.add_instance(busy.port, queue_depth=0)
        world.add_instance(idle.port, queue_depth=5)
        await routable(api, world, 2)

        async def one() -> int:
            async with api.chat(world.tenant.headers) as response:
                return int(response.status)

        first = asyncio.create_task(one())
        await until(lambda: busy.running == 1)
        second = asyncio.create_task(one())
        await until(lambda: idle.running == 1)
        release.set()
        assert set(await asyncio.gather(first, second)) == {200}


async def test_a_reinstalled_instance_gets_its_new_key(api: Api, world: World) -> None:
    async with model_server() as server:
        world.add_instance(server.port, generation=1)
        await routable(api, world, 1)
        async with api.chat(world.tenant.headers) as response:
            assert response.status == 200
        other = world.add_instance(server.port, generation=2)
        await routable(api, world, 2)
        for _ in range(2):
            async with api.chat(world.tenant.headers) as response:
                assert response.status == 200
    keys = {heard.headers["authorization"] for heard in server.heard}
    assert len(keys) == 2
    assert other is not None
