"""Tokens of every bad kind on every surface: 401 in its dialect, saying what to do, repeating nothing (decisions 2, 6, 7)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import httpx
import jwt
import pytest

from api.inference.edge import OPENAI_CODES
from models.base.ids import new_id
from models.domain.keys import Purpose, decode_installation_key, derive, fingerprint
from tests.api.conftest import INSTALLATION_KEY, Person
from tests.factories.seeded import SeededApi

KEY = derive(decode_installation_key(INSTALLATION_KEY), Purpose.JWT)
OTHER_KEY = derive(decode_installation_key(INSTALLATION_KEY), Purpose.CODEC)
COOKIE = "quarterdeck_session"
PATHS = ["/instances", "/operations", "/auth/me", "/v1/models"]
HOUR_S = 3600


@pytest.fixture(scope="module")
def person(seeded: SeededApi) -> Person:
    return seeded.people.person()


def session(
    seeded: SeededApi,
    person: Person,
    *,
    key: bytes | str = KEY,
    algorithm: str = "HS256",
    leave_out: str = "",
    **claims: object,
) -> str:
    """A token with a live row in the database that has its hash: only what the token itself says is against it."""
    session_id, now = new_id(), int(time.time())
    payload: dict[str, object] = {
        "iss": "quarterdeck", "sub": str(person.user_id), "session_id": str(session_id), "jti": str(new_id()),
        "iat": now - HOUR_S, "exp": now + HOUR_S,
    }  # fmt: skip
    payload |= claims
    payload.pop(leave_out, None)
    token = jwt.encode(payload, key, algorithm=algorithm)
    seeded.people.execute(
        "INSERT INTO user_sessions (id, organization_id, user_id, token_hash, expires_at)"
        " VALUES (%s, %s, %s, %s, now() + interval '1 hour')",
        session_id, person.organization_id, person.user_id, fingerprint(token),
    )  # fmt: skip
    return token


def api_key(seeded: SeededApi, *, change: str) -> str:
    person = seeded.people.person()
    seeded.people.execute(f"UPDATE api_keys SET {change} WHERE id = %s", person.api_key_id)  # noqa: S608
    return person.api_key


def ended(seeded: SeededApi, person: Person) -> str:
    token = session(seeded, person)
    seeded.people.execute("UPDATE user_sessions SET revoked_at = now() WHERE token_hash = %s", fingerprint(token))
    return token


def of_one_who_left(seeded: SeededApi) -> str:
    person = seeded.people.person()
    token = session(seeded, person)
    seeded.people.execute("DELETE FROM memberships WHERE user_id = %s", person.user_id)
    return token


def tampered(seeded: SeededApi, person: Person) -> str:
    header, _payload, signature = session(seeded, person).split(".")
    _, payload, _ = session(seeded, person, sub=str(new_id())).split(".")
    return f"{header}.{payload}.{signature}"


Make = Callable[[SeededApi, Person], str]
BAD: dict[str, Make] = {
    "expired": lambda s, p: session(s, p, exp=int(time.time()) - 60),
    "expiring in a text": lambda s, p: session(s, p, exp="tomorrow"),
    "not yet issued": lambda s, p: session(s, p, iat=int(time.time()) + HOUR_S),
    "signed with another of our keys": lambda s, p: session(s, p, key=OTHER_KEY),
    "signed with an empty looking key": lambda s, p: session(s, p, key="\0" * 32),
    "unsigned": lambda s, p: session(s, p, key="", algorithm="none"),
    "of another algorithm": lambda s, p: session(s, p, key=KEY * 2, algorithm="HS512"),
    "of another issuer": lambda s, p: session(s, p, iss="somebody"),
    "without an end": lambda s, p: session(s, p, leave_out="exp"),
    "without a session": lambda s, p: session(s, p, leave_out="session_id"),
    "of no session": lambda s, p: session(s, p, session_id=str(new_id())),
    "of a session that is no id": lambda s, p: session(s, p, session_id="1 OR 1=1"),
    "ended": ended,
    "of one who left the organization": lambda s, _p: of_one_who_left(s),
    "tampered with": tampered,
    "truncated": lambda s, p: session(s, p)[:-1],
    "a key that was revoked": lambda s, _p: api_key(s, change="revoked_at = now()"),
    "a key that expired": lambda s, _p: api_key(s, change="expires_at = now() - interval '1 second'"),
    "a key that nobody has": lambda _s, _p: f"sk-qd-{secrets.token_hex(32)}",
    "a key in capitals": lambda _s, p: p.api_key.upper(),
    "a key cut short": lambda _s, p: p.api_key[:-1],
    "the hash of a key": lambda _s, p: fingerprint(p.api_key),
    "a worker's token": lambda _s, _p: f"wk_{secrets.token_hex(32)}",
    "three words": lambda _s, _p: "a.b.c",
    "a short word": lambda _s, _p: "x",
    "an endless word": lambda _s, _p: "x" * 20_000,
    "a null": lambda _s, _p: "null",
    "SQL": lambda _s, _p: "' OR '1'='1",
}
WAYS: dict[str, Callable[[str], dict[str, str]]] = {
    "bearer": lambda token: {"authorization": f"Bearer {token}"},
    "X-API-Key": lambda token: {"x-api-key": token},
    "cookie": lambda token: {"cookie": f"{COOKIE}={token}"},
}


def assert_refused(response: httpx.Response, path: str, code: str) -> None:
    assert response.status_code == 401, response.text
    assert response.headers["www-authenticate"] == "Bearer"
    if path.startswith("/v1"):
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert (error["type"], error["code"]) == ("invalid_request_error", OPENAI_CODES.get(code, code).lower())
        assert len(error["message"]) > 20
    else:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["code"] == code
        assert len(response.json()["detail"]) > 20


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_token_is_401_everywhere(seeded: SeededApi, person: Person, kind: str):
    token = BAD[kind](seeded, person)
    for path in PATHS:
        for way in WAYS.values():
            response = await seeded.api.client.get(path, headers=way(token))
            assert_refused(response, path, "INVALID_TOKEN")
            assert len(token) < 8 or token not in response.text


async def test_the_same_token_without_a_fault_is_good(seeded: SeededApi, person: Person):
    """Otherwise everything above would be refused for another reason."""
    token = session(seeded, person)
    for path in PATHS:
        for name, way in WAYS.items():
            assert (await seeded.api.client.get(path, headers=way(token))).status_code == 200, (path, name)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Basic YTpi"},
        {"authorization": "Digest username=x"},
        {"authorization": f"Token sk-qd-{'a' * 64}"},
        {"x-api-key": ""},
        {"cookie": f"{COOKIE}="},
        {"cookie": "session=abc; other=def"},
        {"cookie": ";;;=;"},
        {b"authorization": b"Bearer \xff\xfe\x80"},
        {b"x-api-key": "ключ".encode()},
    ],
)
async def test_what_is_no_credential_is_401_and_tells_how_to_have_one(
    seeded: SeededApi, path: str, headers: dict[str, str]
):
    assert_refused(await seeded.api.client.get(path, headers=headers), path, "LOGIN_REQUIRED")


async def test_a_session_that_ends_is_over_for_every_surface_at_once(seeded: SeededApi, person: Person):
    headers = {"authorization": f"Bearer {session(seeded, person)}"}
    for path in PATHS:
        assert (await seeded.api.client.get(path, headers=headers)).status_code == 200
    assert (await seeded.api.client.post("/auth/logout", headers=headers)).status_code == 200
    for path in PATHS:
        assert_refused(await seeded.api.client.get(path, headers=headers), path, "INVALID_TOKEN")
