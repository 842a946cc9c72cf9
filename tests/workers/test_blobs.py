"""Blobs: what is put comes back, to its organization alone, as long as something needs it (docs/decisions/0090)."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import psycopg
import pytest
from pydantic import SecretStr

from activities.blobs.blobs import BlobDamaged, BlobLost, Blobs, object_key
from activities.blobs.store import BlobStore, blob_store
from activities.blobs.sweep import BlobSweep
from models.base.errors import Conflict, NotFound, PayloadTooLarge, ServiceUnavailable
from models.repositories import blobs as rows
from models.repositories.database import Database
from models.settings import Settings
from tests.factories import identity
from tests.factories.rows import Rows
from tests.fakes.bucket import BUCKET, KEY_ID, SECRET, Bucket, bucket
from tests.servers import TestDatabase
from workers.embedded.ports import free_port

LIMIT = 8_000_000
GRACE_S = 3_600.0
TEXT = b"what is too large for a row"
SHA256 = hashlib.sha256(TEXT).hexdigest()


@dataclass
class World:
    blobs: Blobs
    store: BlobStore
    database: Database
    """As a worker sees it."""
    admin: TestDatabase
    organization_id: UUID
    other_id: UUID

    def sweep(self) -> BlobSweep:
        return BlobSweep(self.store, self.database, grace_s=GRACE_S)

    async def objects(self) -> list[str]:
        installation_id = self.blobs._installation_id or await self.installation_id()
        pages = [page async for page in self.store.listed(str(installation_id))]
        mine = (str(self.organization_id), str(self.other_id))
        return sorted(one.key for page in pages for one in page if one.key.split("/")[1] in mine)

    async def installation_id(self) -> UUID:
        async with self.database.system() as session:
            return await rows.installation_id(session)

    async def key(self, sha256: str = SHA256) -> str:
        async with self.database.tenant(self.organization_id) as session:
            found = await rows.find(session, sha256)
        return object_key(await self.installation_id(), self.organization_id, found.object_id)

    def age(self, seconds: float = 2 * GRACE_S) -> None:
        """All of the organization was put that much earlier, by the database's clock."""
        with psycopg.connect(self.admin.admin) as connection:
            connection.execute(
                "UPDATE blobs SET touched_at = touched_at - make_interval(secs => %s) WHERE organization_id = %s",
                (seconds, self.organization_id),
            )

    async def refer(self, resource_id: UUID, sha256: str = SHA256, organization_id: UUID | None = None) -> None:
        owner = organization_id or self.organization_id
        async with self.database.tenant(owner) as session:
            await rows.refer(session, owner, sha256, resource_kind="toy", resource_id=resource_id)

    async def let_go(self, resource_id: UUID) -> int:
        async with self.database.tenant(self.organization_id) as session:
            return await rows.let_go(session, resource_kind="toy", resource_id=resource_id)

    async def read(self, sha256: str = SHA256, organization_id: UUID | None = None) -> bytes:
        content = await self.blobs.get(organization_id or self.organization_id, sha256)
        return b"".join([chunk async for chunk in content.chunks])


@pytest.fixture(scope="module")
def s3() -> Iterator[Bucket]:
    with bucket() as running:
        yield running


@pytest.fixture(params=["folder", "bucket"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "folder":
        return Settings(home=tmp_path)
    running: Bucket = request.getfixturevalue("s3")
    running.objects.clear()
    return Settings(
        home=tmp_path, blob_url=f"s3://{BUCKET}/some/prefix", blob_endpoint=running.url, blob_region="eu-west-3",
        blob_access_key_id=KEY_ID, blob_secret_access_key=SecretStr(SECRET),
    )  # fmt: skip


@pytest.fixture(scope="module")
def installed(module_database: TestDatabase) -> TestDatabase:
    with psycopg.connect(module_database.admin) as connection:
        connection.execute("INSERT INTO installation (id) VALUES (%s)", (uuid4(),))
    return module_database


@pytest.fixture
async def world(settings: Settings, installed: TestDatabase) -> AsyncIterator[World]:
    with psycopg.connect(installed.admin) as connection:
        connection.execute("DELETE FROM blob_references")
        connection.execute("DELETE FROM blobs")
    written, mine, other = Rows(installed), identity.organization("Acme"), identity.organization("Other")
    written.add(mine, other)
    written.close()
    store, database = blob_store(settings), Database(installed.worker)
    yield World(Blobs(store, database, limit_bytes=LIMIT), store, database, installed, mine.id, other.id)
    await database.close()
    store.close()


async def pieces(content: bytes, size: int = 1_000) -> AsyncIterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


async def put(world: World, content: bytes = TEXT, organization_id: UUID | None = None) -> str:
    stored = await world.blobs.put(organization_id or world.organization_id, pieces(content))
    assert stored.size_bytes == len(content)
    return stored.sha256


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, LIMIT])
async def test_what_is_put_comes_back(world: World, size: int):
    content = os.urandom(size)
    sha256 = await put(world, content)
    assert sha256 == hashlib.sha256(content).hexdigest()
    assert (await world.blobs.get(world.organization_id, sha256)).size_bytes == size
    assert await world.read(sha256) == content


async def test_the_same_bytes_are_one_object(world: World):
    assert {await put(world) for _ in range(3)} == {SHA256}
    assert len(await world.objects()) == 1
    assert {*await asyncio.gather(*(put(world, b"at once") for _ in range(8)))} == {
        hashlib.sha256(b"at once").hexdigest()
    }
    assert len(await world.objects()) == 2, "whoever came second removed what it wrote"


async def test_another_organizations_hash_does_not_exist(world: World):
    await put(world)
    with pytest.raises(NotFound) as unknown:
        await world.read("0" * 64)
    for attempt in (
        world.read(organization_id=world.other_id),
        world.blobs.delete(world.other_id, SHA256),
        world.refer(uuid4(), organization_id=world.other_id),
    ):
        with pytest.raises(NotFound) as refused:
            await attempt
        assert (refused.value.message, refused.value.code) == (unknown.value.message, "BLOB_NOT_FOUND")
    await put(world, organization_id=world.other_id)
    assert len(await world.objects()) == 2, "equal bytes of two organizations are two objects"
    await world.blobs.delete(world.other_id, SHA256)
    assert await world.read() == TEXT


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../" * 10 + "etc/passwd", "/etc/passwd", "a" * 63, "A" * 64, "g" * 64, "a" * 65, "a" * 64 + "\n", "%2e" * 21 + "a", "a/../" + "a" * 59],
)  # fmt: skip
async def test_what_is_no_hash_is_not_found(world: World, name: str):
    for attempt in (world.read(name), world.blobs.delete(world.organization_id, name), world.refer(uuid4(), name)):
        with pytest.raises(NotFound):
            await attempt


async def test_what_is_too_large_leaves_nothing(world: World):
    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield b"x" * 1_000_000

    with pytest.raises(PayloadTooLarge) as refused:
        await world.blobs.put(world.organization_id, endless())
    assert refused.value.details == {"limit_bytes": LIMIT}
    assert asked == LIMIT // 1_000_000 + 1, "nobody read on"
    with pytest.raises(PayloadTooLarge):
        await world.blobs.put(world.organization_id, pieces(b"x" * 11), limit_bytes=10)
    assert await world.objects() == []


async def test_a_sender_that_fails_or_goes_leaves_nothing(world: World):
    async def failing() -> AsyncIterator[bytes]:
        yield TEXT
        raise ConnectionError("gone")

    async def silent() -> AsyncIterator[bytes]:
        yield TEXT
        await asyncio.Event().wait()

    with pytest.raises(ConnectionError):
        await world.blobs.put(world.organization_id, failing())
    waiting = asyncio.create_task(world.blobs.put(world.organization_id, silent()))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await world.objects() == []


async def test_bytes_are_taken_and_verified_beside_the_event_loop(world: World, monkeypatch: pytest.MonkeyPatch):
    threads: list[bool] = []

    class Watched:
        def __init__(self) -> None:
            self._real = hashlib.sha256()

        def update(self, chunk: bytes) -> None:
            threads.append(threading.current_thread() is threading.main_thread())
            self._real.update(chunk)

        def hexdigest(self) -> str:
            return self._real.hexdigest()

    monkeypatch.setattr("activities.blobs.blobs.hashlib", SimpleNamespace(sha256=Watched))
    stored = await world.blobs.put(world.organization_id, pieces(TEXT, 10))
    assert await world.read(stored.sha256) == TEXT
    assert len(threads) > 2
    assert not any(threads)


# -- The sweep


async def test_what_nothing_needs_goes_after_the_grace_time(world: World):
    await put(world)
    assert await world.sweep().remove() == 0
    assert await world.read() == TEXT
    world.age()
    assert await world.sweep().remove() == 1
    assert await world.objects() == []
    with pytest.raises(NotFound):
        await world.read()
    assert await put(world) == SHA256
    assert await world.read() == TEXT


async def test_what_something_needs_stays_until_it_is_let_go(world: World):
    first, second = uuid4(), uuid4()
    await put(world)
    for each in (first, second, first):
        await world.refer(each)
    with pytest.raises(Conflict):
        await world.blobs.delete(world.organization_id, SHA256)
    world.age()
    assert await world.sweep().remove() == 0
    assert (await world.let_go(first), await world.let_go(first)) == (1, 0)
    world.age()
    assert await world.sweep().remove() == 0
    await world.let_go(second)
    assert await world.sweep().remove() == 0, "let go a moment ago"
    world.age()
    assert await world.sweep().remove() == 1


async def test_to_put_it_again_begins_the_grace_time_anew(world: World):
    await put(world)
    world.age()
    await put(world)
    assert await world.sweep().remove() == 0
    assert await world.read() == TEXT


async def test_a_crash_between_object_and_row_leaves_nothing_for_long(world: World):
    """`put` dies after the object, `sweep` after the row: an object that no row names."""
    installation_id = await world.installation_id()
    await put(world, b"x")
    await world.store.put(object_key(installation_id, world.organization_id, uuid4()), io.BytesIO(b"left"))
    assert len(await world.objects()) == 2
    assert await world.sweep().remove() == 0, "it may be on its way"
    old = BlobSweep(world.store, world.database, grace_s=-60.0)
    world.age(-GRACE_S)  # the row of the other is of tomorrow: it is not what is removed
    assert await old.remove() == 1
    assert await world.objects() == [await world.key(hashlib.sha256(b"x").hexdigest())]


async def test_a_sweep_takes_a_part_and_the_next_one_goes_on_where_it_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    """Two that nothing needs, then two that no row names; a part without time is the smallest that there is."""
    monkeypatch.setattr(rows, "FORGOTTEN_AT_ONCE", 1)
    installation_id = await world.installation_id()
    for content in (b"a", b"b"):
        await put(world, content)
    world.age()
    for _ in range(2):
        await world.store.put(object_key(installation_id, world.organization_id, uuid4()), io.BytesIO(b"left"))
    sweep = BlobSweep(world.store, world.database, grace_s=-60.0, part_s=0.0)
    left: list[int] = []
    while not left or left[-1]:
        await sweep.remove()
        left.append(len(await world.objects()))
        assert len(left) < 10
    assert left[:3] == [3, 2, 2], "one, the other, none any more"
    assert left[-1] == 0


async def test_after_a_failure_it_is_not_the_very_next_sweep_that_tries_again(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    async def away(_database: Database, _grace_s: float) -> list[tuple[UUID, UUID]]:
        raise ServiceUnavailable("the store is away")

    await put(world)
    world.age()
    sweep = world.sweep()
    with monkeypatch.context() as patched:
        patched.setattr(rows, "forget_unreferred", away)
        with pytest.raises(ServiceUnavailable):
            await sweep.remove()
    assert await sweep.remove() == 0
    sweep._next_at_s = 0.0  # its time has come
    assert await sweep.remove() == 1


async def test_what_is_not_of_this_installation_stays(world: World):
    strange = [
        f"{uuid4()}/{world.organization_id}/{uuid4()}",
        f"{await world.installation_id()}/{world.organization_id}/notes",
    ]
    for key in strange:
        await world.store.put(key, io.BytesIO(b"strange"))
    await BlobSweep(world.store, world.database, grace_s=-60.0).remove()
    for key in strange:
        assert await world.store.has(key)
        await world.store.delete(key)


async def test_an_object_that_was_lost_is_told_and_comes_back_by_another_put(world: World):
    await put(world)
    await world.refer(uuid4())
    await world.store.delete(await world.key())
    with pytest.raises(BlobLost):
        await world.read()
    await put(world)
    assert await world.read() == TEXT


async def test_an_object_that_was_altered_is_told_at_its_end(world: World, tmp_path: Path):
    await put(world)
    altered = tmp_path / "altered"
    altered.write_bytes(TEXT.upper())
    with altered.open("rb") as file:
        await world.store.put(await world.key(), file)
    with pytest.raises(BlobDamaged):
        await world.read()


async def test_many_who_put_need_and_sweep_at_once_lose_nothing(world: World):
    """What was referred to is there, whatever a sweep without grace did in between."""
    sweep = BlobSweep(world.store, world.database, grace_s=0.0, every_s=0.0)
    needed: list[str] = []
    done = asyncio.Event()

    async def family(number: int) -> None:
        for turn in range(6):
            content = b"%d" % ((number + turn) % 4)
            while True:  # as a caller does: what is gone before it was needed is put again
                sha256 = await put(world, content)
                try:
                    await world.refer(uuid4(), sha256)
                    break
                except NotFound:
                    continue
            needed.append(sha256)

    async def sweeping() -> None:
        while not done.is_set():
            await sweep._remove_unneeded(await world.installation_id())

    sweeper = asyncio.create_task(sweeping())
    await asyncio.gather(*(family(number) for number in range(6)))
    done.set()
    await sweeper
    assert len(needed) == 36
    for sha256 in set(needed):
        assert hashlib.sha256(await world.read(sha256)).hexdigest() == sha256


async def test_a_store_that_is_away_is_unavailable_and_nothing_is_lost(world: World, tmp_path: Path):
    away = Settings(
        home=tmp_path, blob_url=f"s3://{BUCKET}", blob_endpoint=f"http://127.0.0.1:{free_port()}", blob_region="eu-west-3",
        blob_access_key_id=KEY_ID, blob_secret_access_key=SecretStr(SECRET),
    )  # fmt: skip
    store = blob_store(away)
    blobs = Blobs(store, world.database, limit_bytes=LIMIT)
    await put(world)
    for attempt in (blobs.put(world.organization_id, pieces(b"new")), blobs.get(world.organization_id, SHA256)):
        with pytest.raises(ServiceUnavailable) as refused:
            await attempt
        assert refused.value.code == "BLOBS_UNAVAILABLE"
        assert SECRET not in str(refused.value)
    store.close()
    assert await world.read() == TEXT
