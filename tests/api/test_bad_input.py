"""Bodies, addresses and headers that no sane client sends: a documented 4xx with a code, and the process goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from models.domain.fleet.instances.credentials import agent_token
from tests.api.conftest import Person, session_of
from tests.api.wire import answer_from, connected, raw
from tests.factories.seeded import SeededApi
from tests.factories.unstarted import of_nobody, unstarted_app
from tests.patience import GIVE_UP_S

LIMIT_BYTES = 65_536
INFERENCE_LIMIT_BYTES = 10_000_000
JSON = "application/json"
OF_A_SESSION = "/auth/me/password"
MACHINE_TOKEN = agent_token(b"0" * 32, UUID(int=1), 1, "nonce")
"""Nobody's: that is told by the instance that a body names."""

READS_ANY_BODY = {"POST /internal/codec/decode"}
"""Takes what Temporal's web UI sends, whatever it calls it; tests/api/test_payload_codec.py has its own."""


@pytest.fixture(scope="module")
def person(seeded: SeededApi) -> Person:
    return seeded.people.person()


def with_a_body() -> Iterator[tuple[str, str]]:
    for path, operations in unstarted_app().openapi()["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation and f"{method.upper()} {path}" not in READS_ANY_BODY:
                yield method.upper(), of_nobody(path)


ROUTES = [pytest.param(*route, id=" ".join(route)) for route in with_a_body()]


def may_have_none() -> Iterator[tuple[str, str]]:
    """Commands whose body says how, and is left out by who has nothing to say."""
    for path, operations in unstarted_app().openapi()["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation and not operation["requestBody"].get("required"):
                yield method.upper(), of_nobody(path)


NEED_NO_BODY = set(may_have_none())


def nested(depth: int, opening: bytes, closing: bytes) -> bytes:
    return opening * depth + b"1" + closing * depth


MALFORMED = {
    "nothing opened": b"}",
    "nothing closed": b'{"model_id": "x"',
    "a word": b"hello",
    "two values": b"{} {}",
    "single quotes": b"{'a': 1}",
    "a comma too many": b'{"a": 1,}',
    "a comment": b"{} // nothing",
    "invalid UTF-8": b'{"name": "\xff\xfe"}',
    "an overlong slash": b'{"name": "\xc0\xaf"}',
    "a raw control character": b'{"name": "a\x00b"}',
    "a bad escape": b'{"name": "\\x41"}',
    "lists without end": b"[" * 60_000,
    "objects without end": b'{"a":' * 12_000,
    "random bytes": bytes(range(256)),
}
"""What is no JSON, or cannot be read as such: 400."""

ABSURD = {
    "nothing": b"",
    "a list": b"[]",
    "a text": b'"text"',
    "a number": b"7",
    "a null": b"null",
    "a number beyond all types": b'{"model": 1e400, "name": 1e400, "email": 1e400}',
    "an integer of 4000 digits": b'{"model": %b, "name": 1}' % (b"9" * 4000),
    "an integer of 5000 digits": b"9" * 5000,
    "no number at all": b'{"model": NaN, "name": -Infinity}',
    "an escaped NUL": b'{"model": "a\\u0000b", "name": "a\\u0000b", "email": "\\u0000", "password": "x"}',
    "half a surrogate pair": b'{"model": "\\ud800", "name": "\\udfff", "email": "\\ud800", "password": "x"}',
    "a surrogate in UTF-8": b'{"model": "\xed\xa0\x80", "name": "\xed\xa0\x80", "email": "\xed\xa0\x80"}',
    "a surrogate for a key": b'{"\\ud800": 1}',
    "deep but closed lists": nested(900, b"[", b"]"),
    "deep but closed objects": nested(900, b'{"a":', b"}"),
    "a deep field": b'{"model": ' + nested(900, b"[", b"]") + b"}",
    "a key of sixty thousand letters": b'{"%b": 1}' % (b"k" * 60_000),
    "four thousand fields": json.dumps({f"f{number}": number for number in range(4_000)}).encode(),
}
"""What is JSON, or nearly, and no request."""

CODES = {"INVALID_REQUEST", "MALFORMED_REQUEST"}
OPENAI_CODES = {"INVALID_JSON", "INVALID_PARAMETER", "MISSING_MODEL", "MODEL_NOT_FOUND"}


def code_and_message(response: httpx.Response) -> tuple[str, str]:
    """Of an error body in the dialect of its path. Fails for anything else."""
    body = response.json()
    if response.url.path.startswith("/v1"):
        error = body["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error["code"].upper(), error["message"]
    assert response.headers["content-type"] == "application/problem+json"
    assert body["status"] == response.status_code
    assert body["request_id"] == response.headers["x-request-id"]
    return body["code"], body["detail"]


async def send(
    seeded: SeededApi, person: Person, route: tuple[str, str], content: bytes, content_type: str | None = JSON
) -> httpx.Response:
    caller = {"authorization": f"Bearer {MACHINE_TOKEN}"} if "/internal/worker/" in route[1] else person.bearer
    if route[1] == OF_A_SESSION:
        caller = await session_of(seeded.api, person)
    headers = {**caller, **({} if content_type is None else {"content-type": content_type})}
    return await seeded.api.client.request(*route, content=content, headers=headers)


@pytest.mark.parametrize("what", MALFORMED)
@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_what_is_no_json_is_400(seeded: SeededApi, person: Person, method: str, path: str, what: str):
    response = await send(seeded, person, (method, path), MALFORMED[what])
    code, message = code_and_message(response)
    assert response.status_code == 400, response.text
    assert code == code.upper() != ""
    assert "JSON" in message
    assert len(response.content) < 3_000


@pytest.mark.parametrize("what", ABSURD)
@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_what_is_no_request_is_4xx(seeded: SeededApi, person: Person, method: str, path: str, what: str):
    response = await send(seeded, person, (method, path), ABSURD[what])
    code, message = code_and_message(response)
    if path.startswith("/v1"):
        assert response.status_code == (404 if code == "MODEL_NOT_FOUND" else 400)
        assert code in OPENAI_CODES
    elif what == "nothing" and (method, path) in NEED_NO_BODY:
        assert (response.status_code, code.endswith("_NOT_FOUND")) == (404, True), response.text
    else:
        assert response.status_code in {400, 422}, response.text
        assert code in CODES
    assert len(message) > 10
    assert len(response.content) < 8_000, "an answer does not grow with the question"


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "text/html", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "application/octet-stream", "json", "*/*", "application/jsonx", ";", "application/json/../text"],
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_another_content_type_is_415_and_says_which_is_right(
    seeded: SeededApi, person: Person, method: str, path: str, content_type: str
):
    response = await send(seeded, person, (method, path), b'{"a": 1}', content_type)
    assert response.status_code == 415, response.text
    code, message = code_and_message(response)
    assert code == "UNSUPPORTED_MEDIA_TYPE"
    assert JSON in message


@pytest.mark.parametrize(
    "content_type", [JSON, "application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.x+json"]
)
async def test_json_by_another_name_is_taken(seeded: SeededApi, person: Person, content_type: str):
    response = await send(seeded, person, ("POST", "/api_keys"), b'{"name": "x"}', content_type)
    assert response.status_code == 200, response.text


async def test_of_a_key_given_twice_the_last_one_counts(seeded: SeededApi, person: Person):
    """As everywhere in Python and JavaScript (RFC 8259 leaves it open); what matters is that everybody here agrees."""
    body = b'{"name": "first", "name": "second"}'
    answer = await send(seeded, person, ("POST", "/api_keys"), body)
    assert answer.json()["key"]["name"] == "second"


# -- Size


def limit_of(path: str) -> int:
    return INFERENCE_LIMIT_BYTES if path.startswith("/v1") else LIMIT_BYTES


@pytest.mark.parametrize(
    "path", ["/deployments", "/auth/login", "/internal/worker/heartbeat", "/v1/chat/completions", "/v1/embeddings"]
)
@pytest.mark.parametrize("is_known", [True, False])
async def test_a_body_over_the_limit_is_413_before_it_is_sent(url: str, person: Person, path: str, is_known: bool):
    """Its announced length is enough; to a path where nobody has to be known, also for nobody."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\ncontent-length: {limit_of(path) + 1}\r\n"
    credentials = f"authorization: {person.bearer['authorization']}\r\n" if is_known else ""
    status, body = await raw(url, f"{head}{credentials}\r\n".encode())
    if not is_known and path.startswith("/v1"):
        assert status == 401, "who is not known is not read either"
    else:
        assert (status, "PAYLOAD_TOO_LARGE" in body.upper()) == (413, True)


@pytest.mark.parametrize("path", ["/deployments", "/v1/chat/completions"])
async def test_a_body_that_grows_over_the_limit_is_413(url: str, person: Person, path: str):
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\ntransfer-encoding: chunked\r\n"
        f"authorization: {person.bearer['authorization']}\r\n\r\n"
    )
    limit_bytes = limit_of(path)
    chunk = b"%x\r\n%b\r\n" % (10_000, b" " * 10_000)
    reader, writer = await connected(url)
    answer = asyncio.create_task(answer_from(reader))
    writer.write(head.encode())
    sent_bytes = 0
    with contextlib.suppress(ConnectionError):  # it hangs up on one who goes on sending
        while sent_bytes < limit_bytes + 50_000_000 and not answer.done():
            writer.write(chunk)
            sent_bytes += 10_000
            await writer.drain()
            await asyncio.sleep(0)  # a drain that need not wait lets nobody else run
    status, body = await answer
    writer.close()
    assert (status, "PAYLOAD_TOO_LARGE" in body.upper()) == (413, True)
    assert limit_bytes <= sent_bytes < limit_bytes + 50_000_000


@pytest.mark.parametrize("path", ["/deployments", "/v1/chat/completions"])
async def test_who_sends_it_all_before_reading_finds_the_413_too(url: str, person: Person, path: str):
    """As most clients do. A connection closed while it sends is reset, and the answer would be lost with it."""
    async with httpx.AsyncClient(trust_env=False, timeout=GIVE_UP_S) as client:
        response = await client.post(
            f"{url}{path}",
            content=_pieces(INFERENCE_LIMIT_BYTES + 1_000_000),
            headers={**person.bearer, "content-type": JSON},
        )
    assert response.status_code == 413
    assert response.headers["connection"] == "close"


async def _pieces(size_bytes: int) -> AsyncIterator[bytes]:
    for _ in range(size_bytes // 100_000):
        yield b" " * 100_000


async def test_a_body_of_exactly_the_limit_is_read(url: str, person: Person):
    content = b'{"name": "x", "y": "' + b"z" * (LIMIT_BYTES - 22) + b'"}'
    assert len(content) == LIMIT_BYTES
    async with httpx.AsyncClient(trust_env=False, timeout=GIVE_UP_S) as client:
        response = await client.post(
            f"{url}/api_keys", content=content, headers={**person.bearer, "content-type": JSON}
        )
    assert response.status_code == 422


# -- Addresses and headers


@pytest.mark.parametrize(
    "path",
    ["/instances/" + "a" * 50_000, "/v1/" + "a" * 50_000, "/" + "a/" * 20_000, "/instances?archived=" + "x" * 50_000,
     "/instances?" + "&".join(f"a{number}=1" for number in range(5_000)), "/instances/%ff%fe", "/instances/%00", "/%2e%2e/%2e%2e/etc/passwd",
     "/instances/..%2f..%2fetc%2fpasswd", "/instances/\u202e", "/models/" + "%f0%9f%92%a9" * 50, "//instances//", "/instances/search/search"],
)  # fmt: skip
async def test_absurd_addresses_are_4xx(url: str, person: Person, path: str):
    async with httpx.AsyncClient(trust_env=False, timeout=GIVE_UP_S) as client:
        response = await client.get(f"{url}{path}", headers=person.bearer)
    assert response.status_code in {400, 404, 422}, response.text[:300]
    code, message = code_and_message(response)
    assert code
    assert len(message) > 10
    assert len(response.content) < 8_000


@pytest.mark.parametrize(
    "name", ["x-anything", "cookie", "authorization", "idempotency-key", "x-request-id", "accept", "user-agent"]
)
async def test_a_long_header_is_no_harm(url: str, person: Person, name: str):
    async with httpx.AsyncClient(trust_env=False, timeout=GIVE_UP_S) as client:
        response = await client.get(f"{url}/instances", headers={**person.bearer, name: "a" * 30_000})
    assert response.status_code in {200, 401, 422, 431}, response.text[:300]


def test_the_document_says_what_these_tests_find():
    """The statuses above are documented for every operation with a body."""
    document: dict[str, Any] = unstarted_app().openapi()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation:
                assert {"400", "413", "415", "422"} <= set(operation["responses"]), f"{method} {path}"
    assert len(ROUTES) >= 8
