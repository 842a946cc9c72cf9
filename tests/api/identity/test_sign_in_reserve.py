"""Sign-in under attack: who signed in lately from the same network still does, and nobody learns who that is."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from api.security import passwords
from api.security.login_limits import PER_ADDRESS, PER_ADDRESS_AND_LOGIN, RESERVED, LoginLimits
from api.security.passwords import RESERVED_WAITING_LIMIT, WAITING_LIMIT
from api.security.recent_sign_ins import KEPT_S
from api.security.refusal_pace import STEP_S, RefusalPace
from models.base.errors import RateLimited, ServiceUnavailable
from models.domain.identity import passwords as hashes
from models.repositories.identity import identities
from models.repositories.identity.recent_sign_ins import NETWORKS_PER_USER
from tests.api.conftest import PASSWORD, People, Person, RunningApi
from tests.patience import GIVE_UP_S

HERE, NEXT_DOOR, ELSEWHERE = "203.0.113.5", "203.0.113.77", "198.51.100.9"
A_MINUTE = RESERVED[0].attempts
SLOW = "a password whose check does not end"


class Clock:
    """Stands still unless it is told otherwise. What sleeps by it does not wait, and is written down."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Attack:
    """An API whose limits go by `clock`, and whoever calls it from wherever."""

    def __init__(self, api: RunningApi) -> None:
        self.api, self.clock = api, Clock()
        api.state.login_limits = LoginLimits(self.clock)
        api.state.recent_sign_ins._now_s = self.clock
        self.knows_nobody_any_more()
        api.state.refusal_pace = RefusalPace(self.clock, self.clock.sleep)

    def knows_nobody_any_more(self) -> None:
        """Who is known is read at the next question."""
        self.api.state.recent_sign_ins._due_s = self.clock.now_s

    async def sign_in(self, login: str, password: str = PASSWORD, address: str = HERE) -> httpx.Response:
        transport = httpx.ASGITransport(self.api.app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return await client.post("/auth/login", json={"email": login, "password": password})

    def exhausts(self, address: str) -> None:
        """Until nobody at this address is let through any more: what guesses count, without their passwords being looked at."""
        limits = self.api.state.login_limits
        for number in range(PER_ADDRESS[0].attempts):
            with suppress(RateLimited):  # some have been made before
                limits.attempt(address, f"guess{number}")
        with pytest.raises(RateLimited):
            limits.attempt(address, "one more")


@pytest.fixture
def attack(api: RunningApi) -> Attack:
    return Attack(api)


def refused(answer: httpx.Response, code: str = "LOGIN_LIMIT") -> bool:
    assert (answer.status_code, answer.json()["code"]) == (429, code), answer.text
    return 1 <= int(answer.headers["retry-after"]) <= 60


def without_id(answer: httpx.Response) -> tuple[int, Any, Any]:
    headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    return answer.status_code, {**answer.json(), "request_id": None}, headers


async def test_an_attacker_at_one_address_locks_out_nobody_who_signed_in_there_lately(
    attack: Attack, people: People
) -> None:
    known, stranger = people.person(), people.person()
    assert (await attack.sign_in(known.email)).status_code == 200
    guesses = [attack.sign_in(f"guess{number}", "guess", HERE) for number in range(PER_ADDRESS[0].attempts + 5)]
    statuses = Counter([answer.status_code for answer in await asyncio.gather(*guesses)])
    assert statuses == {401: PER_ADDRESS[0].attempts - 1, 429: 6}
    for address in (NEXT_DOOR, ELSEWHERE):
        attack.exhausts(address)
    for address in (HERE, NEXT_DOOR, HERE):  # a right password uses nothing up
        for login in (known.email, known.username):
            answer = await attack.sign_in(login, address=address)
            assert answer.status_code == 200
            assert answer.json()["user_id"] == str(known.user_id)
    assert refused(await attack.sign_in(stranger.email))
    assert refused(await attack.sign_in(known.email, address=ELSEWHERE))


async def test_a_session_of_the_reserve_is_one_like_any_other(attack: Attack, people: People) -> None:
    known = people.person()
    await attack.sign_in(known.email)
    attack.exhausts(HERE)
    token = (await attack.sign_in(known.email)).json()["access_token"]
    me = await attack.api.client.get("/auth/me", headers={"authorization": f"Bearer {token}"})
    assert me.json()["username"] == known.username


async def test_lately_ends(attack: Attack, people: People) -> None:
    known = people.person()
    await attack.sign_in(known.email)
    people.execute("UPDATE user_sessions SET created_at = now() - interval '31 days'")
    attack.exhausts(HERE)
    assert refused(await attack.sign_in(known.email))


async def test_who_signs_in_is_known_half_a_minute_later(attack: Attack, people: People) -> None:
    known = people.person()
    attack.exhausts(HERE)
    assert refused(await attack.sign_in(known.email))
    attack.clock.now_s += KEPT_S
    assert (await attack.sign_in(known.email)).status_code == 200
    attack.exhausts(HERE)
    assert (await attack.sign_in(known.email)).status_code == 200


@pytest.fixture
def checked(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many passwords were looked at, by the queue that they waited in."""
    counts: Counter[str] = Counter()
    for name in ("password_checks", "reserved_checks"):
        queue = getattr(attack.api.state, name)

        async def verify(
            stored_hash: str | None, password: str, queue: passwords.PasswordChecks = queue, name: str = name
        ) -> bool:
            counts[name] += 1
            return await passwords.PasswordChecks.verify(queue, stored_hash, password)

        monkeypatch.setattr(queue, "verify", verify)
    return counts


async def test_guesses_within_the_reserve_are_limited(attack: Attack, people: People, checked: Counter[str]) -> None:
    known = people.person()
    await attack.sign_in(known.email)
    attack.exhausts(HERE)
    checked.clear()
    guesses = [attack.sign_in(login, "guess") for login in (known.email, known.username) for _ in range(20)]
    assert all(refused(answer) for answer in await asyncio.gather(*guesses))
    assert checked == {"reserved_checks": A_MINUTE}
    assert refused(await attack.sign_in(known.email))  # a right password is no way round
    attack.clock.now_s += 12.001
    attack.exhausts(HERE)
    assert (await attack.sign_in(known.email)).status_code == 200


async def test_the_reserve_adds_a_stated_number_of_guesses_to_an_account(
    attack: Attack, people: People, checked: Counter[str]
) -> None:
    """Five a minute in each of the five networks of an account; from elsewhere none."""
    known = people.person()
    networks = [f"10.0.{number}" for number in range(NETWORKS_PER_USER + 2)]
    for network in networks:
        assert (await attack.sign_in(known.email, address=f"{network}.1")).status_code == 200
    addresses = [f"{network}.{host}" for network in networks for host in range(1, 4)]
    for address in addresses:
        attack.exhausts(address)
    checked.clear()
    for address in addresses:
        answers = [await attack.sign_in(known.email, "guess", address) for _ in range(A_MINUTE + 1)]
        assert all(refused(answer) for answer in answers)
    assert checked == {"reserved_checks": A_MINUTE * NETWORKS_PER_USER}


async def test_one_account_takes_no_more_than_both_limits_from_one_address(
    attack: Attack, people: People, checked: Counter[str]
) -> None:
    known = people.person()
    await attack.sign_in(known.email)
    checked.clear()
    for _ in range(50):
        await attack.sign_in(known.email, "guess")
    assert checked == {"password_checks": PER_ADDRESS_AND_LOGIN[0].attempts, "reserved_checks": A_MINUTE}


async def test_a_guess_tells_nothing_of_who_is_known_from_where(attack: Attack, people: People) -> None:
    """Neither by what is answered nor by when: a wrong password of the reserve is the refusal of all."""
    known, stranger = people.person(), people.person()
    await attack.sign_in(known.email)
    for address in (HERE, ELSEWHERE):
        attack.exhausts(address)
    attack.clock.slept.clear()
    answers = [
        await attack.sign_in(login, "guess", address)
        for address in (HERE, ELSEWHERE)
        for login in (known.email, known.username, stranger.email, "nobody@example.org")
        for _ in range(A_MINUTE + 1)
    ]
    assert [without_id(answer) for answer in answers] == [without_id(answers[0])] * len(answers)
    assert refused(answers[0])
    assert attack.clock.slept == [STEP_S] * len(answers)


@pytest.mark.parametrize("asked_for", ["who is known", "the person"])
async def test_a_database_that_went_away_does_not_tell_either(
    attack: Attack, people: People, monkeypatch: pytest.MonkeyPatch, asked_for: str
) -> None:
    known = people.person()
    await attack.sign_in(known.email)
    attack.exhausts(HERE)

    async def away(*_: object) -> None:
        raise ServiceUnavailable("away")

    if asked_for == "who is known":
        attack.knows_nobody_any_more()
        monkeypatch.setattr(attack.api.state.recent_sign_ins, "_load", away)
    else:
        monkeypatch.setattr(identities, "find_sign_in", away)
    answers = [await attack.sign_in(login) for login in (known.email, "nobody@example.org")]
    assert refused(answers[0])
    assert without_id(answers[0]) == without_id(answers[1])


async def test_a_login_that_became_somebody_elses_is_not_theirs(
    attack: Attack, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, other = people.person(), people.person()
    await attack.sign_in(known.username)
    attack.exhausts(HERE)
    assert refused(await attack.sign_in(other.email))  # who is known has been read
    people.execute("UPDATE users SET email = %s WHERE id = %s", known.username, other.user_id)
    assert refused(await attack.sign_in(known.username))


class Stuck:
    """Password checks that do not end until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        verify = hashes.verify_password

        def waiting(stored_hash: str | None, password: str) -> bool:
            if password == SLOW:
                assert self.go.wait(60)
            return verify(stored_hash, password)

        monkeypatch.setattr(hashes, "verify_password", waiting)


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stuck]:
    stuck = Stuck(monkeypatch)
    yield stuck
    stuck.go.set()


async def waiting(queue: passwords.PasswordChecks, count: int) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while queue._waiting != count:
            await asyncio.sleep(0.01)


@pytest.fixture
async def full(attack: Attack, stuck: Stuck, people: People) -> AsyncIterator[list[Person]]:
    """Three people who signed in; after that, attackers at many addresses have taken every place for a password check."""
    persons = [people.person() for _ in range(3)]
    for person in persons:
        await attack.sign_in(person.email)
    attackers = [
        asyncio.create_task(attack.sign_in("nobody", SLOW, f"192.0.{number}.1")) for number in range(WAITING_LIMIT)
    ]
    await waiting(attack.api.state.password_checks, WAITING_LIMIT)
    yield persons
    stuck.go.set()
    assert {answer.status_code for answer in await asyncio.gather(*attackers)} == {401}


async def test_who_signed_in_lately_has_places_of_their_own_for_the_check(
    attack: Attack, people: People, full: list[Person]
) -> None:
    stranger = people.person()
    for person in full:
        assert (await attack.sign_in(person.email)).status_code == 200
    answers = [
        await attack.sign_in(login, password)
        for login, password in [(stranger.email, PASSWORD), (full[0].email, "guess"), ("nobody", "guess")]
    ]
    assert all(refused(answer, "SIGN_IN_BUSY") for answer in answers)
    assert [without_id(answer) for answer in answers] == [without_id(answers[0])] * 3
    assert attack.clock.slept == [STEP_S] * 6


async def test_their_places_have_an_end_too(attack: Attack, stuck: Stuck, full: list[Person]) -> None:
    first, second, third = full
    guesses = [asyncio.create_task(attack.sign_in(first.email, SLOW)) for _ in range(A_MINUTE)]
    guesses += [asyncio.create_task(attack.sign_in(second.username, SLOW)) for _ in range(A_MINUTE)]
    await waiting(attack.api.state.reserved_checks, RESERVED_WAITING_LIMIT)
    assert refused(await attack.sign_in(third.email), "SIGN_IN_BUSY")
    stuck.go.set()
    assert all(refused(answer, "SIGN_IN_BUSY") for answer in await asyncio.gather(*guesses))


async def test_callers_that_a_proxy_writes_in_ipv6_have_their_own_attempts(attack: Attack, people: People) -> None:
    attack.exhausts("::ffff:192.0.2.1")
    assert (await attack.sign_in(people.person().email, address="::ffff:192.0.2.2")).status_code == 200
    assert refused(await attack.sign_in(people.person().email, address="192.0.2.1"))
