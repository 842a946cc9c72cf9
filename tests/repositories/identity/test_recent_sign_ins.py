"""Which people signed in lately from where, as the database finds it."""

from __future__ import annotations

import random
from collections.abc import Iterator

import psycopg
import pytest

from models.base.ids import new_id
from models.domain.identity.networks import IPV4_BITS, IPV6_BITS, network_of
from models.repositories.database import Database
from models.repositories.identity import recent_sign_ins
from models.repositories.identity.recent_sign_ins import DAYS, NETWORKS_PER_USER, RecentSignIn
from tests.api.conftest import People, Person
from tests.servers import TestDatabase

SEED = 20_260_101
ASK = "SELECT network FROM recent_sign_ins(%s, %s, %s, %s, %s)"


@pytest.fixture
def people(database: TestDatabase) -> Iterator[People]:
    people = People(database)
    yield people
    people.close()


def signed_in(people: People, person: Person, address: str | None, *, days_ago: float = 0) -> None:
    people.execute(
        "INSERT INTO user_sessions (id, organization_id, user_id, token_hash, ip_address, created_at, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, now() - make_interval(secs => %s), now())",
        new_id(), person.organization_id, person.user_id, str(new_id()), address, days_ago * 86_400,
    )  # fmt: skip


async def found(database: TestDatabase) -> list[RecentSignIn]:
    api = Database(database.api, pool_size=1)
    async with api.system() as session:
        rows = list(await recent_sign_ins.load(session))
    await api.close()
    return rows


async def test_a_pair_is_a_person_and_the_network_of_a_session(database: TestDatabase, people: People) -> None:
    ada, bob = people.person(), people.person()
    for address in ("192.0.2.7", "192.0.2.200", "::ffff:192.0.2.9", "2001:db8:1:2ff::1"):
        signed_in(people, ada, address)
    signed_in(people, bob, "192.0.2.8", days_ago=1)
    for no_address in (None, "unknown", "testclient", "10.0.0.1, 10.0.0.2", "fe80::1%eth0"):
        signed_in(people, bob, no_address)
    assert await found(database) == [
        RecentSignIn(ada.user_id, ada.email, ada.username, "2001:db8:1:200::/56"),
        RecentSignIn(ada.user_id, ada.email, ada.username, "192.0.2.0/24"),
        RecentSignIn(bob.user_id, bob.email, bob.username, "192.0.2.0/24"),
    ]


async def test_lately_is_thirty_days_and_a_session_may_have_ended(database: TestDatabase, people: People) -> None:
    ada = people.person()
    signed_in(people, ada, "192.0.2.7", days_ago=DAYS - 0.1)
    signed_in(people, ada, "198.51.100.7", days_ago=DAYS + 0.1)
    people.execute("UPDATE user_sessions SET revoked_at = now()")
    assert [each.network for each in await found(database)] == ["192.0.2.0/24"]


async def test_the_latest_networks_of_a_person_count(database: TestDatabase, people: People) -> None:
    ada, bob = people.person(), people.person()
    for number in range(NETWORKS_PER_USER + 3):
        signed_in(people, ada, f"10.0.{number}.1", days_ago=number)
    signed_in(people, bob, "192.0.2.7", days_ago=20)
    rows = await found(database)
    assert [each.network for each in rows if each.user_id == ada.user_id] == [
        f"10.0.{number}.0/24" for number in range(NETWORKS_PER_USER)
    ]
    assert [each.network for each in rows if each.user_id == bob.user_id] == ["192.0.2.0/24"]


async def test_of_too_many_the_latest_are_known(
    database: TestDatabase, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent_sign_ins, "MOST", 3)
    for number in range(6):
        signed_in(people, people.person(), f"10.0.{number}.1", days_ago=number)
    assert [each.network for each in await found(database)] == [f"10.0.{number}.0/24" for number in range(3)]


def addresses(count: int) -> list[str]:
    """In every way of writing one."""
    drawn = random.Random(SEED)
    ipv4 = [".".join(str(drawn.choice((0, 1, 127, 255, drawn.randrange(256)))) for _ in range(4)) for _ in range(count)]
    groups = [[drawn.choice((0, 0, 1, 0xFFFF, drawn.randrange(0x10000))) for _ in range(8)] for _ in range(count)]
    ipv6 = [":".join(f"{group:x}" for group in each) for each in groups]
    return [
        *ipv4,
        *(f"::ffff:{each}" for each in ipv4[: count // 2]),
        *ipv6,
        "::",
        "::1",
        "::ffff:c000:24d",
        "::2.3.4.5",
    ]


def test_the_database_and_the_process_agree_on_what_a_network_is(database: TestDatabase, people: People) -> None:
    ada, written = people.person(), addresses(300)
    for address in written:
        signed_in(people, ada, address)
    with psycopg.connect(database.api) as connection:
        rows = connection.execute(ASK, (1, IPV4_BITS, IPV6_BITS, 10_000, 10_000)).fetchall()
    assert {network for (network,) in rows} == {network_of(address) for address in written}


def test_a_worker_may_not_ask(database: TestDatabase) -> None:
    with psycopg.connect(database.worker) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(ASK, (1, IPV4_BITS, IPV6_BITS, 1, 1))
