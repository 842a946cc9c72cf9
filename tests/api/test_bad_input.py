"""Bodies, addresses and headers that no sane client sends: a documented 4xx with a code, and the process goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from tests.api.conftest import Person, Served, served
from tests.factories.seeded import SeededApi, lonely_settings, seeded_api
from tests.factories.unstarted import unstarted_app
from tests.servers import TestDatabase

LIMIT_BYTES = 10_000_000
ANSWER_S = 10.0
JSON = "application/json"

READS_ANY_BODY = {"POST /internal/codec/decode"}
"""Takes what Temporal's web UI sends, whatever it calls it; tests/api/test_secrets.py has its own."""


@pytest.fixture(scope="module")
async def seeded(module_database: TestDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SeededApi]:
    async with seeded_api(module_database, tmp_path_factory.mktemp("home")) as seeded:
        yield seeded


@pytest.fixture(scope="module")
def person(seeded: SeededApi) -> Person:
    return seeded.people.person()


@pytest.fixture(scope="module")
async def server(
    seeded: SeededApi, module_database: TestDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """The same behind real sockets."""
    async with served(lonely_settings(module_database, tmp_path_factory.mktemp("served"))) as running:
        yield running


def with_a_body() -> Iterator[tuple[str, str]]:
    for path, operations in unstarted_app().openapi()["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation:
                yield method.upper(), path.format(api_key_id="0198c0de-0000-7000-8000-000000000000")


ROUTES = [pytest.param(*route, id=" ".join(route)) for route in with_a_body()]


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
    "a surrogate in UTF-8": b'{"name": "\xed\xa0\x80"}',
    "an overlong slash": b'{"name": "\xc0\xaf"}',
    "a raw control character": b'{"name": "a\x00b"}',
    "a bad escape": b'{"name": "\\x41"}',
    "lists without end": b"[" * 100_000,
    "objects without end": b'{"a":' * 50_000,
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
    "a surrogate for a key": b'{"\\ud800": 1}',
    "deep but closed lists": nested(900, b"[", b"]"),
    "deep but closed objects": nested(900, b'{"a":', b"}"),
    "a deep field": b'{"model": ' + nested(900, b"[", b"]") + b"}",
    "a key of a megabyte": b'{"%b": 1}' % (b"k" * 1_000_000),
    "ten thousand fields": json.dumps({f"f{number}": number for number in range(10_000)}).encode(),
}
"""What is JSON, or nearly, and no request: 400 or 422."""


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
    headers = {**person.bearer, **({} if content_type is None else {"content-type": content_type})}
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
async def test_what_is_no_request_is_400_or_422(seeded: SeededApi, person: Person, method: str, path: str, what: str):
    response = await send(seeded, person, (method, path), ABSURD[what])
    code, message = code_and_message(response)
    assert response.status_code in {400, 422}, response.text
    assert code in {"INVALID_REQUEST", "MALFORMED_REQUEST"} or "MODEL" in code
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


@pytest.mark.parametrize(
    "path", ["/deployments", "/auth/login", "/internal/worker/heartbeat", "/v1/chat/completions", "/v1/embeddings"]
)
@pytest.mark.parametrize("is_known", [True, False])
async def test_a_body_over_the_limit_is_413_before_it_is_sent(
    server: Served, person: Person, path: str, is_known: bool
):
    """Its announced length is enough; to a path where nobody has to be known, also for nobody."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\ncontent-length: {LIMIT_BYTES + 1}\r\n"
    credentials = f"authorization: {person.bearer['authorization']}\r\n" if is_known else ""
    status, body = await raw(server, f"{head}{credentials}\r\n".encode())
    if not is_known and path.startswith("/v1"):
        assert status == 401, "who is not known is not read either"
    else:
        assert (status, "PAYLOAD_TOO_LARGE" in body.upper()) == (413, True)


@pytest.mark.parametrize("path", ["/deployments", "/v1/chat/completions"])
async def test_a_body_that_grows_over_the_limit_is_413(server: Served, person: Person, path: str):
    sent_bytes = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent_bytes
        while sent_bytes <= 3 * LIMIT_BYTES:
            sent_bytes += 100_000
            yield b" " * 100_000

    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        headers = {**person.bearer, "content-type": JSON}
        try:
            refused = await client.post(f"{server.url}{path}", content=chunks(), headers=headers)
        except httpx.WriteError:
            assert sent_bytes > LIMIT_BYTES, "the connection may be closed once the limit is passed, not before"
            return
    assert refused.status_code == 413
    assert "PAYLOAD_TOO_LARGE" in refused.text.upper()


async def test_a_body_of_exactly_the_limit_is_read(server: Served, person: Person):
    content = b'{"name": "x", "y": "' + b"z" * (LIMIT_BYTES - 22) + b'"}'
    assert len(content) == LIMIT_BYTES
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        response = await client.post(
            f"{server.url}/api_keys", content=content, headers={**person.bearer, "content-type": JSON}
        )
    assert response.status_code == 422


# -- Addresses and headers


@pytest.mark.parametrize(
    "path",
    ["/instances/" + "a" * 50_000, "/v1/" + "a" * 50_000, "/" + "a/" * 20_000, "/instances?archived=" + "x" * 50_000,
     "/instances?" + "&".join(f"a{number}=1" for number in range(5_000)), "/instances/%ff%fe", "/instances/%00", "/%2e%2e/%2e%2e/etc/passwd",
     "/instances/..%2f..%2fetc%2fpasswd", "/instances/\u202e", "/models/" + "%f0%9f%92%a9" * 50, "//instances//", "/instances/search/search"],
)  # fmt: skip
async def test_absurd_addresses_are_4xx(server: Served, person: Person, path: str):
    async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_S) as client:
        response = await client.get(f"{server.url}{path}", headers=person.bearer)
    assert response.status_code in {404, 422}, response.text[:300]
    code, message = code_and_message(response)
    assert code
    assert len(message) > 10
    assert len(response.content) < 8_000


@pytest.mark.parametrize(
    "name", ["x-anything", "cookie", "authorization", "idempotency-key", "x-request-id", "accept", "user-agent"]
)
async def test_a_long_header_is_no_harm(server: Served, person: Person, name: str):
    async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_S) as client:
        response = await client.get(f"{server.url}/instances", headers={**person.bearer, name: "a" * 30_000})
    assert response.status_code in {200, 401, 422, 431}, response.text[:300]


RAW = {
    "no request at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no method": b"/instances HTTP/1.1\r\nhost: x\r\n\r\n",
    "an unknown method": b"BREW /instances HTTP/1.1\r\nhost: x\r\n\r\n",
    "a length that is none": b"POST /deployments HTTP/1.1\r\nhost: x\r\ncontent-length: ten\r\n\r\n",
    "a negative length": b"POST /deployments HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    "two lengths": b"POST /deployments HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{} ",
    "a length and chunks": b"POST /deployments HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk of no size": b"POST /deployments HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
    "a header without a name": b"GET /instances HTTP/1.1\r\nhost: x\r\n: value\r\n\r\n",
    "a header with a line feed in it": b"GET /instances HTTP/1.1\r\nhost: x\r\nx: a\rb\r\n\r\n",
}


@pytest.mark.parametrize("what", RAW)
async def test_what_is_no_http_is_4xx_or_hung_up_on(server: Served, what: str):
    status, _body = await raw(server, RAW[what])
    assert status is None or 400 <= status < 500
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{server.url}/health")).status_code == 200


@pytest.mark.parametrize("kind", ["one header", "many headers", "the address"])
async def test_a_head_without_end_is_cut_off(server: Served, kind: str):
    """Nobody may fill the memory before the first line of a request is complete."""
    most_bytes, piece = 20_000_000, b"a" * 50_000
    begin, part = {
        "one header": (b"GET / HTTP/1.1\r\nx: ", piece),
        "many headers": (b"GET / HTTP/1.1\r\n", b"x: " + piece[:1000] + b"\r\n"),
        "the address": (b"GET /", piece),
    }[kind]
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(server.url).port)
    sent_bytes = 0
    try:
        writer.write(begin)
        while sent_bytes < most_bytes and not reader.at_eof() and not writer.is_closing():
            writer.write(part)
            sent_bytes += len(part)
            await writer.drain()
            await asyncio.sleep(0)
    except ConnectionError:
        assert sent_bytes < most_bytes
    finally:
        writer.close()
    assert sent_bytes < most_bytes, "all of it was taken"


async def raw(server: Served, request: bytes) -> tuple[int | None, str]:
    """Status and body of what comes back for these bytes; None when the connection is closed without an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(server.url).port)
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(ANSWER_S):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length")
                ),
                0,
            )
            return int(head.split()[1]), (await reader.readexactly(length)).decode()
    except (asyncio.IncompleteReadError, ConnectionError):
        return None, ""
    finally:
        writer.close()


def test_the_document_says_what_these_tests_find():
    """The statuses above are documented for every operation with a body."""
    document: dict[str, Any] = unstarted_app().openapi()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation:
                assert {"400", "413", "415", "422"} <= set(operation["responses"]), f"{method} {path}"
    assert len(ROUTES) >= 8
