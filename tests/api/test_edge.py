"""What every request meets: ids, headers, limits, and error bodies in the dialect of the surface."""

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI, Request
from sqlalchemy.exc import IntegrityError
from starlette.types import Message

from api.http.errors import install_error_handlers
from api.http.middleware import BodyLimit, Edge
from models.base import errors
from models.base.errors import AppError
from models.repositories.database import Database
from tests.api.conftest import People, RunningApi, client_of

PROBLEM_KEYS = {"type", "title", "status", "detail", "error", "code", "details", "request_id"}
LIMIT_BYTES = 2_000
SECRET = "hunter2-is-the-secret"


def small_app() -> FastAPI:
    """The edge around routes that only tests need."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    install_error_handlers(app)

    @app.post("/length")
    @app.post("/v1/length")
    async def length(body: dict[str, object]) -> int:
        return len(body)

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @app.get("/fail/{name}")
    @app.get("/v1/fail/{name}")
    @app.get("/api/v1/fail/{name}")
    @app.get("/api/fail/{name}")
    async def fail(name: str) -> None:
        kind: type[AppError] = getattr(errors, name)
        arguments = {"resource_id": "r"} if kind is errors.PartialCreate else {"retry_after_s": 1.2}
        raise kind("it did not work", **arguments)

    @app.get("/crash")
    async def crash() -> None:
        raise IntegrityError(f"INSERT {SECRET}", {"password": SECRET}, ValueError(SECRET))

    app.add_middleware(BodyLimit, limit_bytes=LIMIT_BYTES)
    app.add_middleware(Edge)
    return app


@pytest.fixture
async def edge() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(small_app()) as client:
        yield client


def kinds() -> list[type[AppError]]:
    found = [AppError]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", kinds())
async def test_every_failure_has_its_body_on_every_surface(edge: httpx.AsyncClient, kind: type[AppError]):
    by_surface = {prefix: await edge.get(f"{prefix}/fail/{kind.__name__}") for prefix in ("", "/api", "/v1", "/api/v1")}
    assert {response.status_code for response in by_surface.values()} == {kind.status}
    for prefix in ("", "/api"):
        problem = by_surface[prefix].json()
        assert set(problem) == PROBLEM_KEYS
        assert by_surface[prefix].headers["content-type"] == "application/problem+json"
        assert (problem["status"], problem["code"], problem["detail"]) == (kind.status, kind.code, "it did not work")
        assert problem["error"] == problem["detail"]
    openai = by_surface["/v1"].json()["error"]
    assert set(openai) == {"message", "type", "param", "code"}
    assert openai["code"] == kind.code.lower()
    stacks = by_surface["/api/v1"].json()
    assert (stacks["status"], stacks["error"]["code"]) == ("error", kind.code)
    assert ("errors" in stacks) == (kind.status == 422)
    if kind is not errors.PartialCreate:
        assert {response.headers["retry-after"] for response in by_surface.values()} == {"2"}


async def test_a_crash_is_500_and_tells_nobody_what_it_knew(edge: httpx.AsyncClient, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        response = await edge.get("/crash")
    assert (response.status_code, response.json()["code"]) == (500, "INTERNAL")
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert "IntegrityError" in caplog.text
    assert "test_edge.py" in caplog.text  # where it happened
    assert SECRET not in caplog.text + response.text


@pytest.mark.parametrize("given", ["abc", "a" * 128, "0198-x:y.z_1"])
async def test_a_callers_request_id_is_kept(edge: httpx.AsyncClient, given: str):
    response = await edge.get("/nowhere", headers={"x-request-id": given})
    assert response.headers.get_list("x-request-id") == [given]
    assert response.json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "a" * 129, "a b", "a\tb", '"', "-x", "é", "x;y"])
async def test_a_bad_request_id_is_replaced(edge: httpx.AsyncClient, given: str):
    response = await edge.get("/nowhere", headers=[(b"x-request-id", given.encode())])
    assert UUID(response.headers["x-request-id"]).version == 7


async def test_security_headers_are_on_every_answer(edge: httpx.AsyncClient):
    for path in ("/nowhere", "/crash", "/fail/NotFound"):
        headers = (await edge.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "strict-transport-security" not in headers


async def test_a_body_of_the_limit_passes_and_one_byte_more_does_not(edge: httpx.AsyncClient):
    assert (await edge.post("/raw", content=b"x" * LIMIT_BYTES)).json() == LIMIT_BYTES
    refused = await edge.post("/raw", content=b"x" * (LIMIT_BYTES + 1))
    assert (refused.status_code, refused.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert refused.headers["connection"] == "close"


@pytest.mark.parametrize("path", ["/raw", "/length", "/v1/length"])
async def test_a_body_that_does_not_say_its_length_is_refused_on_the_way(path: str):
    received = 0
    answers: list[tuple[int, int]] = []

    async def endless() -> dict[str, object]:
        nonlocal received
        received += 1
        return {"type": "http.request", "body": b"[" * 500, "more_body": True}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            answers.append((int(str(message["status"])), received))

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers, "state": {}}
    await small_app()(scope, endless, send)  # type: ignore[arg-type]  # who goes on sending is not listened to for ever
    ((status, when_answered),) = answers
    assert status == 413
    assert when_answered <= 1 + LIMIT_BYTES // 500


async def call_raw(app: FastAPI, headers: list[tuple[bytes, bytes]], path: str = "/raw") -> int:
    """The status for headers that a well-behaved client would not send."""
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body must not be read")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers, "root_path": ""}
    await app(scope, receive, send)
    status = sent[0]["status"]
    assert isinstance(status, int)
    return status


@pytest.mark.parametrize(("length", "status"), [(b"10000001", 413), (b"9" * 5000, 413), (b"ten", 400), (b"-1", 400)])
async def test_an_announced_length_is_judged_without_reading(length: bytes, status: int):
    assert await call_raw(small_app(), [(b"content-length", length)]) == status


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "MALFORMED_REQUEST"),
        (b"\xff\xfe", "application/json", 400, "MALFORMED_REQUEST"),
        (b"[" * 1500, "application/json", 400, "MALFORMED_REQUEST"),
        (b"9" * 1900, "application/json", 422, "INVALID_REQUEST"),
        (b"{}", "text/plain", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"a=1", "application/x-www-form-urlencoded", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"{}", "", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"[]", "application/json", 422, "INVALID_REQUEST"),
        (b"", "application/json", 422, "INVALID_REQUEST"),
    ],
)
async def test_bodies_that_are_none(edge: httpx.AsyncClient, content: bytes, content_type: str, status: int, code: str):
    headers = {"content-type": content_type} if content_type else {}
    response = await edge.post("/length", content=content, headers=headers)
    assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.parametrize("url", ["/fail/%00", "/fail/x?y=%00", "/fail/x?%00=1"])
async def test_nul_characters_in_an_address_are_422(edge: httpx.AsyncClient, url: str):
    response = await edge.get(url)
    assert (response.status_code, response.json()["code"]) == (422, "INVALID_REQUEST")


async def test_unknown_routes_and_methods_are_problems(api: RunningApi):
    nowhere = await api.client.get("/nowhere")
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "ROUTE_NOT_FOUND")
    wrong = await api.client.patch("/api_keys")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert wrong.headers["allow"] == "GET, POST"
    assert (await api.client.patch("/api_keys/x")).headers["allow"] == "DELETE, PUT"
    openai = await api.client.get("/v1/nowhere")
    assert (openai.status_code, set(openai.json())) == (404, {"error"})


@pytest.mark.parametrize("path", ["/health", "/version", "/api_keys", "/operations", "/api_keys/search", "/swagger-ui"])
async def test_a_slash_at_the_end_changes_nothing(api: RunningApi, people: People, path: str):
    headers = people.person().bearer
    assert (await api.client.post("/api_keys", json={"name": "listed"}, headers=headers)).status_code == 200
    without, with_slash = await api.client.get(path, headers=headers), await api.client.get(f"{path}/", headers=headers)
    assert (without.status_code, with_slash.status_code) == (200, 200)
    assert without.json() if path not in {"/swagger-ui", "/health"} else True
    assert path == "/health" or without.content == with_slash.content


async def test_field_errors_name_the_field_and_do_not_repeat_its_value(api: RunningApi):
    body = {
        "email": "a@example.org",
        "password": SECRET * 100,
        "x" * 300: 1,
        "\udc00".encode("utf-8", "replace").decode(): 1,
    }
    response = await api.client.post("/auth/login", json=body)
    fields = response.json()["details"]["fields"]
    assert ["body", "password"] in [field["loc"] for field in fields]
    assert all(len(str(part)) <= 100 for field in fields for part in field["loc"])
    assert SECRET not in response.text


async def test_a_name_that_cannot_be_encoded_does_not_break_the_answer(api: RunningApi):
    content = json.dumps({"email": "a", "password": "b", "\ud800": 1}).encode()
    response = await api.client.post("/auth/login", content=content, headers={"content-type": "application/json"})
    assert response.status_code == 422


async def test_a_database_that_is_away_is_503_with_retry_after(
    api: RunningApi, people: People, monkeypatch: pytest.MonkeyPatch
):
    person, nobody_listens = people.person(), Database("postgresql://nobody@127.0.0.1:1/none")
    await api.state.identities.catch_up()
    monkeypatch.setattr(api.state, "databases", replace(api.state.databases, requests=nobody_listens))
    for response in (
        await api.client.get("/auth/me", headers=person.bearer),
        await api.client.post("/api_keys", json={"name": "x"}, headers=person.bearer),
        await api.client.post("/auth/login", json={"email": "a", "password": "b"}),
        await api.client.post("/auth/logout", headers=person.bearer),
        await api.client.get("/events/stream", headers=person.bearer),
    ):
        assert (response.status_code, response.json()["code"]) == (503, "DATABASE_UNAVAILABLE")
        assert int(response.headers["retry-after"]) >= 1
    await nobody_listens.close()
