"""What happens while the database is away, routes are old, and the disk refuses."""

import asyncio
import errno
import gc
import logging
import os
import tracemalloc
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from api.inference.composition import Inference
from api.inference.metering import Asked, Meter, Record
from api.inference.recording import Recorder
from models.base.errors import ServiceUnavailable
from models.base.ids import new_id, new_text_id
from models.domain.identity.principal import Principal
from models.domain.identity.roles import Role
from models.domain.inference.calls import Endpoint, parse_call
from models.domain.inference.records import InferenceOutcome
from models.domain.inference.resolution import CatalogModel
from models.domain.inference.routing import Route
from models.repositories.database import Database
from models.repositories.database_clock import DatabaseClock
from models.repositories.inference.journal import Journal, JournalReader
from tests.inference.model_server import ModelServer, model_server
from tests.inference.running import Api, asked_first, database_away, recorded, routable
from tests.inference.world import MODEL, World
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase, TestPostgres


def journal_bytes(home: Path) -> int:
    return sum(path.stat().st_size for path in home.rglob("*.log"))


async def test_an_outage_of_the_database_loses_and_doubles_nothing(
    api: Api, world: World, upstream: ModelServer, postgres: TestPostgres, database: TestDatabase
) -> None:
    with database_away(postgres, database):
        for _ in range(60):
            async with api.chat(world.tenant.headers) as response:
                assert response.status == 200
        assert journal_bytes(api.state.settings.home) > 60 * 500
    rows = await recorded(world, 60)
    assert len({row.id for row in rows}) == 60
    assert sum(row.output_tokens for row in rows) == 60 * 3


async def test_litellm_38193_db_outage_rss(world: World, database: TestDatabase, tmp_path: Path) -> None:
    """While the database cannot be written, records wait on disk and memory stays flat; afterwards each is there once."""
    journal = Journal(tmp_path, segment_bytes=1_000_000)
    meter = Meter(journal, DatabaseClock())
    away, back = Database("postgresql://nobody@127.0.0.1:1/nothing"), Database(database.api)
    recorder = Recorder(away, tmp_path, journal.folder, meter)

    async def spend(count: int) -> None:
        for number in range(count):
            record(meter, world).close(InferenceOutcome.SUCCEEDED, http_status=200)
            if number % 1000 == 0:
                with pytest.raises(ServiceUnavailable):
                    await recorder.flush()

    try:
        await spend(1_001)
        gc.collect()
        tracemalloc.start()
        await spend(5_000)
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert journal_bytes(tmp_path) > 4_000_000
        assert grown < 500_000
        recorder._database = back
        await recorder.flush()
        await recorder.flush()
        assert len(world.requests()) == 6_001
        assert journal_bytes(tmp_path) < 1_500_000
    finally:
        await away.close()
        await back.close()
        journal.close(is_settled=True)


async def test_a_record_that_the_database_refuses_holds_up_nobody(
    world: World, database: TestDatabase, tmp_path: Path
) -> None:
    journal = Journal(tmp_path)
    meter = Meter(journal, DatabaseClock())
    db = Database(database.api)
    try:
        for number in range(30):
            record(meter, world).close(InferenceOutcome.SUCCEEDED, http_status=200)
            if number == 10:
                good = JournalReader(journal.folder).lines(100)[0][-1]
                fields = orjson.loads(good.json)
                journal.closed(new_text_id(), orjson.dumps({**fields, "id": new_id(), "outcome": "eaten by a grue"}))
                journal.closed(new_text_id(), orjson.dumps({**fields, "id": new_id(), "organization_id": new_id()}))
                journal.closed(new_text_id(), good.json)  # and the same once more
        await Recorder(db, tmp_path, journal.folder, meter).flush()
        assert len(world.requests()) == 30
    finally:
        await db.close()
        journal.close(is_settled=True)


async def test_processes_that_adopt_at_once_write_each_record_once(
    world: World, database: TestDatabase, tmp_path: Path
) -> None:
    for _ in range(5):
        dead = Journal(tmp_path)
        meter = Meter(dead, DatabaseClock())
        record(meter, world)
        for _ in range(20):
            record(meter, world).close(InferenceOutcome.SUCCEEDED, http_status=200)
        dead.close(is_settled=False)
    db = Database(database.api)
    adopters = [
        (journal := Journal(tmp_path), Recorder(db, tmp_path, journal.folder, Meter(journal, DatabaseClock())))
        for _ in range(3)
    ]
    try:
        await asyncio.gather(*(recorder.adopt() for _, recorder in adopters))
    finally:
        await db.close()
        for journal, _ in adopters:
            journal.close(is_settled=True)
    rows = world.requests()
    assert len(rows) == 105
    assert sum(row.outcome is InferenceOutcome.INTERRUPTED for row in rows) == 5
    assert journal_bytes(tmp_path) == 0


def record(meter: Meter, world: World) -> Record:
    principal = Principal(user_id=world.tenant.user_id, organization_id=world.tenant.organization_id, role=Role.USER)
    call = parse_call(Endpoint.CHAT_COMPLETIONS, b'{"model": "echo"}')
    asked = Asked("a-request", principal, call, CatalogModel(world.model_id, "echo", MODEL), 5)
    route = Route(
        instance_id=new_id(), organization_id=principal.organization_id, generation=1, model_id=MODEL, url="",
        authorization="", queue_depth=0, fresh_until_s=0.0,
    )  # fmt: skip
    return meter.open(new_text_id(), asked, route)


async def test_requests_go_on_for_30_s_without_the_database_and_then_wait(
    api: Api, world: World, upstream: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    knowledge = api.state.of(Inference)._knowledge
    listener = knowledge._routes._listener
    real = listener._verified_at
    assert real is not None
    monkeypatch.setattr(type(listener), "age_s", property(lambda self: 29.0 if self is listener else 0.0))
    async with api.chat(world.tenant.headers) as response:
        assert response.status == 200
    monkeypatch.setattr(type(listener), "age_s", property(lambda self: 30.1 if self is listener else 0.0))
    async with api.chat(world.tenant.headers) as response:
        assert response.status == 503
        assert response.headers["retry-after"]
        assert (await response.json())["error"]["code"] == "routes_stale"
    async with api.client.get(f"{api.url}/v1/models", headers=world.tenant.headers) as response:
        assert response.status == 503


async def test_after_a_lost_listener_everything_is_read_again(
    api: Api, world: World, upstream: ModelServer, postgres: TestPostgres, database: TestDatabase
) -> None:
    async with model_server() as late:
        with database_away(postgres, database):
            await asyncio.sleep(0.1)
        world.add_instance(late.port)  # its notification may come while nobody listens
        await routable(api, world, 2)


async def test_a_silent_agent_is_routed_around_without_any_notification(api: Api, world: World) -> None:
    async with model_server() as server:
        world.add_instance(server.port, silent_s=117)
        await routable(api, world, 1)
        await routable(api, world, 0)


async def test_while_the_disk_refuses_nothing_is_spent(
    api: Api, world: World, upstream: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = api.state.of(Inference)._journal
    monkeypatch.setattr(journal, "_append", lambda _line: (_ for _ in ()).throw(OSError(28, "no space")))
    async with api.chat(world.tenant.headers) as response:
        assert response.status == 503
        assert (await response.json())["error"]["code"] == "metering_unavailable"
    assert upstream.heard == []
    monkeypatch.undo()
    async with api.chat(world.tenant.headers) as response:
        assert response.status == 200
    await recorded(world, 1)


async def test_health_says_that_the_disk_refuses_until_it_does_not(
    api: Api, world: World, upstream: ModelServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody has to ask for an answer to learn that they are given again."""
    caplog.set_level(logging.INFO, "api.inference.metering")
    journal, write = api.state.of(Inference)._journal, os.write

    def refuse(file: int, data: bytes) -> int:
        if file == journal._file:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(os, "write", refuse)
    async with api.chat(world.tenant.headers) as response:
        assert response.status == 503
    assert await health(api) == ("degraded", ["METERING_UNAVAILABLE"])
    async with asyncio.timeout(GIVE_UP_S):
        while "takes no records" not in caplog.text:
            await asyncio.sleep(0.02)
        monkeypatch.undo()
        while await health(api) != ("healthy", []):
            await asyncio.sleep(0.02)
    async with api.chat(world.tenant.headers) as response:
        assert response.status == 200
    told = [one.getMessage().partition(":")[0] for one in caplog.records if one.name == "api.inference.metering"]
    assert told == ["the disk takes no records of requests", "the disk takes records of requests again"]


async def health(api: Api) -> tuple[str, list[str]]:
    async with api.client.get(f"{api.url}/health") as response:
        assert response.status == 200
        said = await response.json()
    return said["status"], said["reasons"]


async def test_a_call_names_no_successor_that_the_disk_refused(
    api: Api, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = api.state.of(Inference)._journal

    async def busy(_request: web.Request) -> web.StreamResponse:
        monkeypatch.setattr(journal, "_append", lambda _line: (_ for _ in ()).throw(OSError(28, "no space")))
        return web.json_response({}, status=503)

    async with asked_first(api, world, busy) as (_first, other):
        async with api.chat(world.tenant.headers) as response:
            assert response.status == 503
            assert response.headers["retry-after"] == "2"
            assert (await response.json())["error"]["code"] == "upstream_unavailable"
        assert other.heard == []
    monkeypatch.undo()
    [record] = await recorded(world, 1)
    assert (record.outcome, record.http_status, record.retried_as) == (InferenceOutcome.FAILED, 503, None)


async def test_without_routes_to_believe_in_nobody_takes_over(
    api: Api, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = api.state.of(Inference)._knowledge._routes._listener

    async def busy(_request: web.Request) -> web.StreamResponse:
        monkeypatch.setattr(type(listener), "age_s", property(lambda self: 30.1 if self is listener else 0.0))
        return web.json_response({"error": {"message": "the queue is full"}}, status=429)

    async with asked_first(api, world, busy) as (_first, other):
        async with api.chat(world.tenant.headers) as response:
            assert response.status == 429
            assert (await response.json())["error"]["message"] == "the queue is full"
        assert other.heard == []
    monkeypatch.undo()
    [record] = await recorded(world, 1)
    assert (record.outcome, record.http_status, record.input_tokens) == (InferenceOutcome.FAILED, 429, 0)


async def test_a_close_that_the_disk_refused_is_written_later(
    api: Api, world: World, upstream: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = api.state.of(Inference)._journal
    real = journal._append
    monkeypatch.setattr(
        journal,
        "_append",
        lambda line: real(line) if line.startswith(b"o") else (_ for _ in ()).throw(OSError(28, "full")),
    )
    async with api.chat(world.tenant.headers) as response:
        assert response.status == 200
    assert world.requests() == []
    monkeypatch.undo()
    [record] = await recorded(world, 1)
    assert record.output_tokens == 3
