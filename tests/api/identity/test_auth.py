"""Signing in, being recognised, signing out (contract/fleet.md 1, 2.1, 2.5; contract decisions 3, 6, 7)."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie

import httpx
import jwt
import pytest

from models.base.ids import new_id
from models.domain.identity.roles import Role
from models.domain.keys import Purpose, decode_installation_key, derive, fingerprint
from models.repositories import replica
from models.settings import Environment, Settings
from tests.api.conftest import INSTALLATION_KEY, PASSWORD, People, Person, RunningApi, client_of, running_api
from tests.factories.hash_work import counted
from tests.patience import GIVE_UP_S

COOKIE = "quarterdeck_session"


async def sign_in(api: RunningApi, person: Person, **headers: str) -> httpx.Response:
    body = {"email": person.email, "password": PASSWORD}
    return await api.client.post("/auth/login", json=body, headers=headers)


async def test_signing_in_gives_the_contracts_fields_a_bearer_and_a_cookie(api: RunningApi, people: People):
    person = people.person()
    response = await sign_in(api, person)
    body = response.json()
    assert response.status_code == 200
    assert {name: body[name] for name in ("user_id", "email", "role", "first_name", "last_name", "token_type")} == {
        "user_id": str(person.user_id),
        "email": person.email,
        "role": "user",
        "first_name": "Ada",
        "last_name": None,
        "token_type": "bearer",
    }
    lifetime = datetime.fromisoformat(body["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=11, minutes=59) < lifetime <= timedelta(hours=12)
    cookie = SimpleCookie(response.headers["set-cookie"])[COOKIE]
    assert cookie.value == body["access_token"]
    assert (cookie["path"], cookie["httponly"], cookie["samesite"].lower(), cookie["max-age"], cookie["secure"]) == (
        "/", True, "lax", "43200", "",
    )  # fmt: skip


async def test_the_cookie_is_secure_outside_development(api_settings: Settings, people: People):
    production = api_settings.model_copy(update={"environment": Environment.PRODUCTION})
    async with running_api(production) as api:
        response = await sign_in(api, people.person())
        assert SimpleCookie(response.headers["set-cookie"])[COOKIE]["secure"]
        assert "max-age" in response.headers["strict-transport-security"]


async def test_the_token_names_its_session_and_the_claims_of_the_contract(api: RunningApi, people: People):
    person = people.person(Role.MANAGER, is_superadmin=True)
    token = (await sign_in(api, person)).json()["access_token"]
    key = derive(decode_installation_key(INSTALLATION_KEY), Purpose.JWT)
    claims = jwt.decode(token, key, algorithms=["HS256"], issuer="quarterdeck")
    assert claims["sub"] == str(person.user_id)
    assert claims["email"] == person.email
    assert claims["role"] == "admin"
    assert claims["current_organization_id"] == str(person.organization_id)
    assert claims["current_organization_role"] == "manager"
    assert claims["exp"] - claims["iat"] == 12 * 3600
    (row,) = people.execute("SELECT token_hash, user_agent FROM user_sessions WHERE id = %s", claims["session_id"])
    assert row[0] == fingerprint(token)
    assert token not in str(row)


@pytest.mark.parametrize("spelling", ["email", "username", "spaced", "upper"])
async def test_a_login_is_an_address_or_a_username_trimmed_and_lower_cased(
    api: RunningApi, people: People, spelling: str
):
    person = people.person()
    login = {
        "email": person.email,
        "username": person.username,
        "spaced": f"  {person.email}\t",
        "upper": person.email.upper(),
    }[spelling]
    response = await api.client.post("/auth/login", json={"email": login, "password": PASSWORD})
    assert response.status_code == 200


async def test_an_address_wins_over_a_username_that_looks_like_it(api: RunningApi, people: People):
    victim, other = people.person(), people.person(password_hash=None)
    people.execute("UPDATE users SET username = %s WHERE id = %s", victim.email, other.user_id)
    assert (await sign_in(api, victim)).json()["user_id"] == str(victim.user_id)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"email": "nobody@example.org", "password": "wrong"}, 401, "INVALID_CREDENTIALS"),
        ({"email": "someone@example.org"}, 422, "INVALID_REQUEST"),
        ({"password": PASSWORD}, 422, "INVALID_REQUEST"),
        ({"email": "   ", "password": PASSWORD}, 422, "INVALID_REQUEST"),
        ({"email": "a@example.org", "password": ""}, 422, "INVALID_REQUEST"),
        ({"email": "a@example.org", "password": "x" * 1025}, 422, "INVALID_REQUEST"),
        ({"email": "a" * 321, "password": PASSWORD}, 422, "INVALID_REQUEST"),
        ({"email": "a\0b", "password": PASSWORD}, 422, "INVALID_REQUEST"),
        ({"email": ["a"], "password": PASSWORD}, 422, "INVALID_REQUEST"),
        ({"email": "a@example.org", "password": PASSWORD, "admin": True}, 422, "INVALID_REQUEST"),
        ([], 422, "INVALID_REQUEST"),
        (None, 422, "INVALID_REQUEST"),
    ],
)
async def test_what_is_no_sign_in_is_refused_without_an_echo(api: RunningApi, body: object, status: int, code: str):
    response = await api.client.post("/auth/login", json=body)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert PASSWORD not in response.text
    assert "set-cookie" not in response.headers


async def test_a_lone_surrogate_is_a_field_error(api: RunningApi):
    body = b'{"email": "\\ud800", "password": "\\udfff"}'
    response = await api.client.post("/auth/login", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422


async def test_wrong_password_and_no_password_and_no_user_look_the_same(api: RunningApi, people: People):
    known, without = people.person(), people.person(password_hash=None)
    answers = []
    for login in (known.email, without.email, "nobody@example.org"):
        response = await api.client.post("/auth/login", json={"email": login, "password": "guess"})
        answers.append({**response.json(), "request_id": "", "status_code": response.status_code})
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["status_code"] == 401


async def test_an_unknown_login_costs_as_much_as_a_wrong_password(
    api: RunningApi, people: People, monkeypatch: pytest.MonkeyPatch
):
    """Else the time of the answer told who exists."""
    hashed = counted(monkeypatch)
    known, without = people.person(), people.person(password_hash=None)
    for login in (known.email, without.email, "nobody@example.org"):
        response = await api.client.post("/auth/login", json={"email": login, "password": "guess"})
        assert response.status_code == 401
    assert hashed == [hashed[0]] * 3


async def test_the_sixth_guess_in_a_minute_waits_and_a_right_password_is_no_way_round(api: RunningApi, people: People):
    person = people.person()
    for _ in range(5):
        guess = await api.client.post("/auth/login", json={"email": person.email, "password": "guess"})
        assert guess.status_code == 401
    refused = await sign_in(api, person)
    assert (refused.status_code, refused.json()["code"]) == (429, "LOGIN_LIMIT")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert (await sign_in(api, people.person())).status_code == 200  # another login is not held up


async def test_guesses_made_at_once_do_not_slip_through(api: RunningApi, people: People):
    body = {"email": people.person().email, "password": "guess"}
    answers = await asyncio.gather(*(api.client.post("/auth/login", json=body) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 15


async def test_who_has_no_organization_gets_one_of_their_own(api: RunningApi, people: People):
    person = people.person()
    people.execute("DELETE FROM api_keys WHERE user_id = %s", person.user_id)
    people.execute("DELETE FROM memberships WHERE user_id = %s", person.user_id)
    assert (await sign_in(api, person)).status_code == 200
    me = (await api.client.get("/auth/me")).json()
    assert (me["current_organization_name"], me["current_organization_role"]) == ("Personal", "owner")
    assert me["current_organization_slug"] == f"personal-{person.user_id.hex}"


async def test_everybody_gets_exactly_one_personal_organization_even_at_once(api: RunningApi, people: People):
    person = people.person()
    answers = await asyncio.gather(*(sign_in(api, person) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    assert {answer.json()["current_organization_id"] for answer in answers} == {str(person.organization_id)}
    rows = people.execute("SELECT id FROM organizations WHERE is_personal AND created_by_user_id = %s", person.user_id)
    assert len(rows) == 1


async def test_a_session_starts_in_the_organization_of_the_latest_one(api: RunningApi, people: People):
    person, second = people.person(), people.organization("Second")
    people.execute("INSERT INTO memberships VALUES (%s, %s, 'viewer')", second, person.user_id)
    people.execute(
        "INSERT INTO user_sessions (id, organization_id, user_id, token_hash, expires_at)"
        " VALUES (%s, %s, %s, 'other', now() + interval '1 h')",
        new_id(), second, person.user_id,
    )  # fmt: skip
    assert (await sign_in(api, person)).json()["current_organization_id"] == str(second)


@pytest.mark.parametrize("way", ["cookie", "bearer", "api key as bearer", "X-API-Key"])
async def test_every_way_of_saying_who_one_is(api: RunningApi, people: People, way: str):
    person = people.person(Role.ADMIN)
    token = (await sign_in(api, person)).json()["access_token"]
    headers = {
        "cookie": {"cookie": f"other=1; {COOKIE}={token}"},
        "bearer": {"authorization": f"bearer {token}"},
        "api key as bearer": person.bearer,
        "X-API-Key": {"x-api-key": person.api_key},
    }[way]
    async with client_of(api.app) as stranger:
        me = await stranger.get("/auth/me", headers=headers)
    assert me.status_code == 200
    assert me.json()["username"] == person.username
    assert me.json()["current_organization_role"] == "admin"


async def test_the_cookie_counts_before_the_key_and_a_dead_cookie_does_not_hide_a_good_key(
    api: RunningApi, people: People
):
    cookie_owner, key_owner = people.person(), people.person()
    await sign_in(api, cookie_owner)
    assert (await api.client.get("/auth/me", headers=key_owner.bearer)).json()["username"] == cookie_owner.username
    people.execute("UPDATE user_sessions SET revoked_at = now()")
    await api.state.identities.catch_up()
    assert (await api.client.get("/auth/me", headers=key_owner.bearer)).json()["username"] == key_owner.username


def forged(person: Person, **changes: object) -> str:
    now = int(time.time())
    claims = {
        "iss": "quarterdeck", "sub": str(person.user_id), "session_id": str(new_id()), "jti": "x", "iat": now, "exp": now + 60,
    }  # fmt: skip
    return jwt.encode(claims | changes, "k" * 32, algorithm="HS256")


@pytest.mark.parametrize("kind", ["nothing", "junk", "key of nobody", "forged", "unsigned", "not ascii", "long"])
async def test_bad_credentials_are_401_and_never_more(api: RunningApi, people: People, kind: str):
    person = people.person()
    unsigned = jwt.encode({"sub": str(person.user_id)}, "", algorithm="none")
    value = {
        "nothing": "",
        "junk": "Bearer junk",
        "key of nobody": "Bearer sk-qd-" + "0" * 64,
        "forged": f"Bearer {forged(person)}",
        "unsigned": f"Bearer {unsigned}",
        "not ascii": "Bearer \xff\xfe",
        "long": "Bearer " + "a.b." * 5000,
    }[kind]
    headers = [(b"authorization", value.encode("latin-1"))] if value else []
    response = await api.client.get("/auth/me", headers=headers)
    assert response.status_code == 401
    assert response.json()["code"] == ("LOGIN_REQUIRED" if kind in {"nothing", "not ascii"} else "INVALID_TOKEN")
    assert response.headers["www-authenticate"] == "Bearer"


async def test_a_row_that_somebody_wrote_does_not_make_a_forged_token_good(api: RunningApi, people: People):
    person, session_id = people.person(), new_id()
    token = forged(person, session_id=str(session_id))
    people.execute(
        "INSERT INTO user_sessions (id, organization_id, user_id, token_hash, expires_at)"
        " VALUES (%s, %s, %s, %s, now() + interval '1 h')",
        session_id, person.organization_id, person.user_id, fingerprint(token),
    )  # fmt: skip
    await api.state.identities.catch_up()
    assert api.state.identities.holder(fingerprint(token)) is not None  # the row is known
    assert (await api.client.get("/auth/me", headers={"authorization": f"Bearer {token}"})).status_code == 401


async def test_a_genuine_token_is_good_only_for_the_row_whose_hash_it_has(api: RunningApi, people: People):
    person = people.person()
    token = (await sign_in(api, person)).json()["access_token"]
    api.client.cookies.clear()
    people.execute("UPDATE user_sessions SET token_hash = 'reissued' WHERE user_id = %s", person.user_id)
    await api.state.identities.catch_up()
    assert (await api.client.get("/auth/me", headers={"authorization": f"Bearer {token}"})).status_code == 401


async def test_an_expired_session_ends_without_anybody_doing_anything(
    api: RunningApi, people: People, monkeypatch: pytest.MonkeyPatch
):
    person = people.person()
    await sign_in(api, person)
    people.execute("UPDATE user_sessions SET expires_at = now() + interval '1 h' WHERE user_id = %s", person.user_id)
    await api.state.identities.catch_up()
    assert (await api.client.get("/auth/me")).status_code == 200
    clock = api.state.clock
    later = clock.now() + timedelta(hours=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert (await api.client.get("/auth/me")).status_code == 401


@pytest.mark.parametrize(
    "revocation",
    [
        "UPDATE api_keys SET revoked_at = now() WHERE user_id = %s",
        "DELETE FROM memberships WHERE user_id = %s",
        "UPDATE api_keys SET expires_at = now() WHERE user_id = %s",
        "DELETE FROM api_keys WHERE user_id = %s",
    ],
)
async def test_a_revocation_made_elsewhere_is_told_by_the_database(api: RunningApi, people: People, revocation: str):
    """The next time that everything is read again is in ten minutes. How soon it comes, `make bench` measures."""
    assert replica.RELOAD_INTERVAL_S > 2 * GIVE_UP_S
    person = people.person()
    assert (await api.client.get("/auth/me", headers=person.bearer)).status_code == 200
    people.execute(revocation, person.user_id)
    async with asyncio.timeout(GIVE_UP_S):
        while (await api.client.get("/auth/me", headers=person.bearer)).status_code != 401:
            await asyncio.sleep(0.02)


async def test_a_change_of_role_is_effective_at_once(api: RunningApi, people: People):
    person = people.person(Role.OWNER)
    assert (await api.client.get("/api_keys", headers=person.bearer)).status_code == 200
    people.execute("UPDATE memberships SET role = 'viewer' WHERE user_id = %s", person.user_id)
    await api.state.identities.catch_up()
    refused = await api.client.get("/api_keys", headers=person.bearer)
    assert (refused.status_code, refused.json()["code"]) == (403, "PERMISSION_DENIED")
    assert refused.json()["details"]["permission"] == "api_keys:own"


async def test_a_key_made_by_another_process_is_good_at_once(api: RunningApi, people: People):
    """The notification may still be on its way when the key is used: a miss asks once, then answers."""
    for _ in range(10):
        assert (await api.client.get("/auth/me", headers=people.person().bearer)).status_code == 200


async def test_signing_out_ends_the_session_clears_the_cookie_and_may_be_repeated(api: RunningApi, people: People):
    token = (await sign_in(api, people.person())).json()["access_token"]
    first = await api.client.post("/auth/logout")
    assert (first.status_code, first.json()) == (200, {"status": "ok"})
    assert SimpleCookie(first.headers["set-cookie"])[COOKIE]["max-age"] == "0"
    assert COOKIE not in api.client.cookies
    assert (await api.client.get("/auth/me", headers={"authorization": f"Bearer {token}"})).status_code == 401
    for headers in ({}, {"authorization": f"Bearer {token}"}, {"authorization": "Bearer junk"}):
        again = await api.client.post("/auth/logout", headers=headers)
        assert (again.status_code, again.json()) == (200, {"status": "ok"})


async def test_signing_out_with_an_api_key_leaves_the_key_alone(api: RunningApi, people: People):
    person = people.person()
    assert (await api.client.post("/auth/logout", headers=person.bearer)).status_code == 200
    assert (await api.client.get("/auth/me", headers=person.bearer)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "http://other.testserver"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": "http://testserver"}, 200),
        ({}, 200),
    ],
)
async def test_another_sites_page_cannot_use_the_cookie(
    api: RunningApi, people: People, headers: dict[str, str], status: int
):
    person = people.person()
    await sign_in(api, person)
    made = await api.client.post("/api_keys", json={"name": "mine"}, headers=headers)
    assert made.status_code == status
    assert (await api.client.get("/auth/me", headers=headers)).status_code == 200  # reading changes nothing
    by_key = await api.client.post(
        "/api_keys", json={"name": "mine"}, headers={**headers, "cookie": "", **person.bearer}
    )
    assert by_key.status_code == 200  # no browser sends that by itself
    assert (await sign_in(api, person, **headers)).status_code == status
    assert (await api.client.post("/auth/logout", headers=headers)).status_code == status


async def test_a_password_changed_during_sign_in_opens_no_session(
    api: RunningApi, people: People, monkeypatch: pytest.MonkeyPatch
):
    person = people.person()
    verify = api.state.password_checks.verify

    async def changed_meanwhile(stored_hash: str | None, password: str) -> bool:
        answer = await verify(stored_hash, password)
        people.execute("UPDATE users SET password_hash = 'new' WHERE id = %s", person.user_id)
        return answer

    monkeypatch.setattr(api.state.password_checks, "verify", changed_meanwhile)
    assert (await sign_in(api, person)).status_code == 401
    assert people.execute("SELECT 1 FROM user_sessions") == []


async def test_times_of_use_are_written_in_batches_and_not_per_request(api: RunningApi, people: People):
    person = people.person()
    used = "SELECT last_used_at FROM api_keys WHERE id = %s"
    for _ in range(3):
        await api.client.get("/auth/me", headers=person.bearer)
    assert people.execute(used, person.api_key_id) == [(None,)]
    last_used = api.state.authenticator._last_used
    await last_used.write()
    ((first,),) = people.execute(used, person.api_key_id)
    assert isinstance(first, datetime)
    await api.client.get("/auth/me", headers=person.bearer)
    await last_used.write()
    assert people.execute(used, person.api_key_id) == [(first,)]  # within the minute
