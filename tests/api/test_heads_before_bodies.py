"""Who calls is known before what was sent is read; what may be sent is bounded before it becomes objects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.types import Message

from api.http.body_limits import LARGE_BODIES, LIMIT_BYTES
from api.http.routing import Route
from models.base.json_bounds import MOST_LEVELS
from models.domain.fleet.instances.credentials import bootstrap_token
from tests.api.conftest import Person
from tests.api.wire import connected
from tests.factories.seeded import SeededApi
from tests.factories.unstarted import of_nobody, unstarted_app
from tests.patience import GIVE_UP_S

JSON = (b"content-type", b"application/json")
WRONG = [
    pytest.param([], id="none"),
    pytest.param([(b"authorization", b"Bearer nonsense")], id="a word"),
    pytest.param([(b"authorization", b"Bearer sk-qd-" + b"x" * 40)], id="an unknown key"),
]


def secured() -> Iterator[tuple[str, str]]:
    for path, operations in unstarted_app().openapi()["paths"].items():
        for method, operation in operations.items():
            if operation.get("security") and "requestBody" in operation:
                yield method.upper(), of_nobody(path)


async def answer_of_unread(
    seeded: SeededApi, method: str, path: str, headers: list[tuple[bytes, bytes]]
) -> tuple[int, str]:
    """Status and code of a request whose body fails the test when it is asked for before the answer."""
    sent: list[Message] = []

    async def receive() -> Message:
        if not any(message["type"] == "http.response.start" for message in sent):
            pytest.fail("the body was read")
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(), "root_path": "",
        "query_string": b"", "headers": [JSON, (b"content-length", b"100"), *headers], "state": {},
        "client": ("127.0.0.1", 1), "server": ("testserver", 80), "scheme": "http",
    }  # fmt: skip
    await seeded.api.app(scope, receive, send)
    body = json.loads(b"".join(message.get("body", b"") for message in sent))
    return sent[0]["status"], body.get("code") or body["error"]["code"]


@pytest.mark.parametrize("headers", WRONG)
@pytest.mark.parametrize(("method", "path"), list(secured()))
async def test_without_credentials_no_body_is_read(
    seeded: SeededApi, method: str, path: str, headers: list[tuple[bytes, bytes]]
):
    status, code = await answer_of_unread(seeded, method, path, headers)
    assert status == 401
    assert code


def test_every_route_with_a_body_looks_at_the_head_first():
    routes = [context.original_route for context in iter_route_contexts(unstarted_app().routes)]
    with_a_body = [route for route in routes if isinstance(route, APIRoute) and route.body_field is not None]
    assert len(with_a_body) >= 6
    assert [route.path for route in with_a_body if not isinstance(route, Route)] == []


def test_the_exceptions_to_the_limit_are_paths_that_exist_and_want_credentials():
    paths = unstarted_app().openapi()["paths"]
    for path, reason in LARGE_BODIES.items():
        assert "401" in paths[path]["post"]["responses"]
        assert len(reason) > 20


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("too deep", b'{"email": %b1%b, "password": "x"}' % (b"[" * MOST_LEVELS, b"]" * MOST_LEVELS)),
        ("too wide", b'{"email": "x", "password": [%b1]}' % (b"1," * 10_000)),
        ("empty lists", b"[%b1]" % (b"[]," * 20_000)),
        ("never closed", b'{"a":' * 10_000),
    ],
)
async def test_deep_and_wide_bodies_are_400_before_anybody_signed_in(seeded: SeededApi, what: str, body: bytes):
    assert len(body) <= LIMIT_BYTES
    response = await seeded.api.client.post("/auth/login", content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (400, "MALFORMED_REQUEST"), what


async def test_a_body_at_the_bounds_is_read(seeded: SeededApi):
    body = b'{"email": %b1%b, "password": "x"}' % (b"[" * (MOST_LEVELS - 1), b"]" * (MOST_LEVELS - 1))
    response = await seeded.api.client.post("/auth/login", content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (422, "INVALID_REQUEST")


async def test_twenty_field_errors_are_told_of_a_thousand(seeded: SeededApi):
    body = {f"field{number}": number for number in range(1_000)}
    response = await seeded.api.client.post("/auth/login", json=body)
    assert response.status_code == 422
    assert len(response.json()["details"]["fields"]) == 20


async def test_a_query_of_a_thousand_parameters_is_400(seeded: SeededApi):
    response = await seeded.api.client.get("/version?" + "&".join(f"a{number}=1" for number in range(1_000)))
    assert (response.status_code, response.json()["code"]) == (400, "MALFORMED_REQUEST")


# -- What a client sees that is still sending


@pytest.fixture(scope="module")
def person(seeded: SeededApi) -> Person:
    return seeded.people.person()


@pytest.mark.parametrize("path", ["/deployments", "/v1/chat/completions", "/internal/codec/decode"])
@pytest.mark.parametrize("more", [{}, {"connection": "close"}])
async def test_who_sends_it_all_before_reading_finds_the_401(url: str, path: str, more: dict[str, str]):
    """A body of known length and one without: the connection may not be reset under the answer."""
    headers = {"content-type": "application/json", "authorization": "Bearer nonsense", **more}

    async def pieces() -> Any:
        for _ in range(40):
            yield b" " * 50_000

    async with httpx.AsyncClient(trust_env=False, timeout=GIVE_UP_S) as client:
        for content in (b" " * 60_000, pieces()):
            response = await client.post(f"{url}{path}", content=content, headers=headers)
            assert response.status_code == 401
        assert response.headers["connection"] == "close"


async def test_a_short_body_that_nobody_read_does_not_cost_the_connection(url: str):
    """An agent or a browser with an expired token does not have to connect anew for each call."""
    body = json.dumps({"instance_id": "x", "padding": "y" * 1_000}).encode()
    head = f"POST /deployments HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    reader, writer = await connected(url)
    for _ in range(3):
        writer.write(head.encode() + body[:10])
        async with asyncio.timeout(GIVE_UP_S):
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" not in answer.lower()
        writer.write(body[10:])
    writer.close()


async def test_a_machine_token_is_judged_with_the_instance_that_the_body_names(seeded: SeededApi):
    token = bootstrap_token(b"0" * 32, seeded.people.organization(), 1)
    response = await seeded.api.client.post(
        "/internal/worker/heartbeat", content=b"{", headers={"authorization": f"Bearer {token}", JSON[0].decode(): JSON[1].decode()}
    )  # fmt: skip
    assert (response.status_code, response.json()["code"]) == (400, "MALFORMED_REQUEST")
