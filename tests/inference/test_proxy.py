"""One request through the whole of it: who may ask, for which model, what goes up, what comes back, what is written down."""

from datetime import timedelta
from io import BytesIO

import orjson
import pytest
from aiohttp import web

from models.base.clock import utc_now
from models.domain.fleet.instances.credentials import serving_key
from models.domain.fleet.instances.state import DesiredStatus, InstanceStatus
from models.domain.identity.roles import Role
from models.domain.inference.records import InferenceOutcome, UsageSource
from models.settings import Settings
from models.settings.derived import installation_key
from tests.inference.model_server import OPENAI_ERROR, ModelServer, breaking_body, model_server, refusing
from tests.inference.running import Api, recorded, routable, until
from tests.inference.world import MODEL, World


async def test_a_completion_is_passed_on_and_recorded(api: Api, world: World, upstream: ModelServer) -> None:
    tenant = world.tenant
    async with api.chat(tenant.headers, temperature=0.5, made_up={"kept": [1, None]}) as response:
        body = await response.json()
    assert response.status == 200
    assert body["choices"][0]["message"]["content"] == "hello"
    assert response.headers["content-type"].startswith("application/json")
    assert response.headers["x-request-id"]
    assert float(response.headers["x-quarterdeck-overhead-ms"]) < 500
    heard = upstream.heard[0]
    assert heard.path == "/v1/chat/completions"
    assert heard.body["temperature"] == 0.5
    assert heard.body["made_up"] == {"kept": [1, None]}
    [record] = await recorded(world, 1)
    assert response.headers["x-quarterdeck-instance"] == str(record.instance_id)
    assert (record.organization_id, record.user_id, record.api_key_id, record.model_id, record.model) == (
        tenant.organization_id, tenant.user_id, tenant.api_key_id, world.model_id, MODEL
    )  # fmt: skip
    assert (record.input_tokens, record.output_tokens) == (7, 3)
    assert record.usage_source is UsageSource.REPORTED
    assert record.outcome is InferenceOutcome.SUCCEEDED
    assert record.request_id == response.headers["x-request-id"]
    assert record.completed_at >= record.started_at


async def test_the_callers_credentials_stay_here(api: Api, world: World, upstream: ModelServer) -> None:
    headers = {**world.tenant.headers, "Cookie": "quarterdeck_session=abc", "X-Other": "kept back"}
    async with api.chat(headers) as response:
        assert response.status == 200
    [record] = await recorded(world, 1)
    assert record.instance_id is not None
    heard = upstream.heard[0].headers
    expected = serving_key(installation_key(api.state.settings), record.instance_id, 1)
    assert heard["authorization"] == f"Bearer {expected}"
    assert "cookie" not in heard
    assert "x-other" not in heard
    assert world.tenant.api_key not in orjson.dumps(heard).decode()


async def test_a_model_goes_by_three_names(api: Api, world: World, upstream: ModelServer) -> None:
    for name in (str(world.model_id), "echo", MODEL, f"  {MODEL} "):
        async with api.chat(world.tenant.headers, model=name) as response:
            assert response.status == 200
    assert [heard.body["model"] for heard in upstream.heard] == [MODEL] * 4


async def test_other_endpoints(api: Api, world: World, upstream: ModelServer) -> None:
    paths = ["/v1/completions", "/v1/embeddings", "/v1/chat/completions/"]
    for path in paths:
        body = {"model": "echo", "prompt": "a", "input": "b"}
        async with api.post(path, json=body, headers=world.tenant.headers) as response:
            assert response.status == 200
    expected = [path.rstrip("/") for path in paths]
    assert [heard.path for heard in upstream.heard] == expected
    assert [record.endpoint for record in await recorded(world, 3)] == expected


async def test_the_key_may_come_in_either_header(api: Api, world: World, upstream: ModelServer) -> None:
    async with api.chat({"X-API-Key": world.tenant.api_key}) as response:
        assert response.status == 200
    assert len(upstream.heard) == 1


async def test_without_good_credentials(api: Api, world: World) -> None:
    for headers in ({}, {"Authorization": "Bearer sk-qd-" + "0" * 64}, {"X-API-Key": "x"}):
        async with api.chat(headers) as response:
            error = (await response.json())["error"]
            assert response.status == 401
            assert error["type"] == "invalid_request_error"
            assert error["code"] == ("invalid_api_key" if headers else "login_required")
            assert set(error) == {"message", "type", "param", "code"}
    assert world.requests() == []


async def test_a_viewer_may_not(api: Api, world: World) -> None:
    viewer = world.add_tenant("viewer", Role.VIEWER)
    narrow = world.add_tenant("narrow", scopes=["instances:read"])
    for tenant in (viewer, narrow):
        async with api.chat(tenant.headers) as response:
            assert response.status == 403
            assert (await response.json())["error"]["type"] == "permission_error"


async def test_a_revoked_key_is_refused_within_a_second(api: Api, world: World, upstream: ModelServer) -> None:
    async with api.chat(world.tenant.headers) as response:
        assert response.status == 200
    world.change_key(world.tenant.api_key_id, revoked_at=utc_now())
    statuses = []

    async def refused() -> bool:
        async with api.chat(world.tenant.headers) as response:
            statuses.append(response.status)
            return bool(response.status == 401)

    deadline = utc_now() + timedelta(seconds=1)
    while not await refused():
        assert utc_now() < deadline
    assert set(statuses) <= {200, 401}


BAD_BODIES: list[tuple[bytes, str, str | None]] = [
    (b"{", "invalid_json", None),
    (b"", "invalid_json", None),
    (b"[1]", "invalid_json", None),
    (b'"x"', "invalid_json", None),
    (b'{"model": "\xff"}', "invalid_json", None),
    (b'{"messages": []}', "missing_model", "model"),
    (b'{"model": "  "}', "missing_model", "model"),
    (b'{"model": null}', "missing_model", "model"),
    (b'{"model": 5}', "invalid_parameter", "model"),
    (b'{"model": "echo", "stream": "yes"}', "invalid_parameter", "stream"),
    (b'{"model": "echo", "stream_options": 1}', "invalid_parameter", "stream_options"),
    (b'{"model": "echo", "x": ' + b"[" * 300 + b"]" * 300 + b"}", "invalid_json", None),
    (b"[" * 5000, "invalid_json", None),
]


async def test_bad_bodies(api: Api, world: World) -> None:
    headers = {**world.tenant.headers, "Content-Type": "application/json"}
    for body, code, param in BAD_BODIES:
        async with api.post("/v1/chat/completions", data=body, headers=headers) as response:
            error = (await response.json())["error"]
        assert response.status == 400, body[:40]
        assert (error["code"], error["param"], error["type"]) == (code, param, "invalid_request_error")


async def test_unknown_and_inactive_models(api: Api, world: World) -> None:
    world.add_model("retired", "example/retired", is_active=False)
    for model in ("nobody/knows", "00000000-0000-0000-0000-000000000000", "retired", "x" * 5000, "\u0000"):
        async with api.chat(world.tenant.headers, model=model) as response:
            error = (await response.json())["error"]
        assert response.status == 404
        assert (error["code"], error["param"]) == ("model_not_found", "model")


async def test_a_new_model_is_known_at_once(api: Api, world: World) -> None:
    world.add_model("fresh", "example/fresh")

    async def is_known() -> bool:
        async with api.chat(world.tenant.headers, model="fresh") as response:
            return bool((await response.json())["error"]["code"] == "no_ready_worker")

    deadline = utc_now() + timedelta(seconds=2)
    while not await is_known():
        assert utc_now() < deadline


async def test_no_ready_worker(api: Api, world: World) -> None:
    async with api.chat(world.tenant.headers) as response:
        assert response.status == 503
        assert (await response.json())["error"]["code"] == "no_ready_worker"
        assert int(response.headers["retry-after"]) >= 1


async def test_instances_of_others_are_nobodys_business(api: Api, world: World, upstream: ModelServer) -> None:
    other = world.add_tenant("other")
    async with api.chat(other.headers) as response:
        assert response.status == 503
    async with api.client.get(f"{api.url}/v1/models", headers=other.headers) as response:
        assert (await response.json())["data"] == []
    assert upstream.heard == []


async def test_only_ready_fresh_instances_that_announce_the_model(api: Api, world: World) -> None:
    async with model_server() as server:
        world.add_instance(server.port, silent_s=121)
        world.add_instance(server.port, announced="example/another")
        world.add_instance(server.port, status=InstanceStatus.DRAINING)
        leaving = world.add_instance(server.port)
        await routable(api, world, 1)
        world.change_instance(leaving, desired_status=DesiredStatus.TERMINATED)
        await routable(api, world, 0)
        async with api.chat(world.tenant.headers) as response:
            assert response.status == 503
        assert server.heard == []


async def test_a_refusal_goes_to_the_caller_as_it_is(api: Api, world: World, upstream: ModelServer) -> None:
    upstream.script = refusing(
        422, {"error": {"message": "too long"}, "extra": 1}, {"Retry-After": "3", "X-Inner": "no"}
    )
    async with api.chat(world.tenant.headers) as response:
        assert response.status == 422
        assert await response.json() == {"error": {"message": "too long"}, "extra": 1}
        assert response.headers["retry-after"] == "3"
        assert "x-inner" not in response.headers
    [record] = await recorded(world, 1)
    assert (record.outcome, record.http_status, record.input_tokens) == (InferenceOutcome.FAILED, 422, 0)


async def test_a_refusal_that_repeats_our_key_is_replaced(api: Api, world: World, upstream: ModelServer) -> None:
    async def script(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": f"bad header {request.headers['Authorization']}"}, status=400)

    upstream.script = script
    async with api.chat(world.tenant.headers) as response:
        text = await response.text()
    assert response.status == 400
    assert upstream.heard[0].headers["authorization"].split()[1] not in text
    assert orjson.loads(text)["error"]["code"] == "upstream_refused_request"


@pytest.mark.parametrize("status", [429, 500, 501, 502, 503, 504, 529])
async def test_a_failure_goes_to_the_caller_as_it_is(
    status: int, api: Api, world: World, upstream: ModelServer
) -> None:
    """contract/fleet.md 6.5: upstream status and body as is."""
    moment = "Wed, 21 Oct 2026 07:28:00 GMT"
    upstream.script = refusing(status, OPENAI_ERROR, {"Retry-After": moment, "X-Inner": "no"})
    async with api.chat(world.tenant.headers, stream=True) as response:
        assert response.status == status
        assert await response.json() == OPENAI_ERROR
        assert response.headers["retry-after"] == moment
        assert "x-inner" not in response.headers
    [record] = await recorded(world, 1)
    assert (record.outcome, record.http_status, record.retried_as) == (InferenceOutcome.FAILED, status, None)
    assert record.input_tokens + record.output_tokens == 0


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (500, b"Traceback: secret inner words", "upstream_error"),
        (500, b'{"error": "secret inner words"}', "upstream_error"),
        (502, b"<html>secret inner words</html>", "upstream_error"),
        (503, b'{"detail": "secret inner words"}', "upstream_unavailable"),
        (504, b'["secret inner words"]', "upstream_timeout"),
        (429, b"secret inner words", "upstream_refused_request"),
        (500, b'{"error": {"message": "secret inner words"', "upstream_error"),
    ],
)
async def test_a_failure_without_an_openai_error_gets_one(
    status: int, body: bytes, code: str, *, api: Api, world: World, upstream: ModelServer
) -> None:
    async def script(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers={"Retry-After": "soon, I promise"})

    upstream.script = script
    async with api.chat(world.tenant.headers) as response:
        assert response.status == status
        text = await response.text()
        assert response.headers.get("retry-after") == ("2" if status in (429, 503) else None)
    assert "inner" not in text
    error = orjson.loads(text)["error"]
    assert (error["code"], set(error)) == (code, {"message", "type", "param", "code"})


@pytest.mark.parametrize("status", [400, 500, 503])
async def test_a_refusal_that_tells_where_the_server_is_is_replaced(
    status: int, api: Api, world: World, upstream: ModelServer
) -> None:
    upstream.script = refusing(status, {"error": {"message": f"connect to http://127.0.0.1:{upstream.port}/ failed"}})
    async with api.chat(world.tenant.headers) as response:
        assert response.status == status
        assert "127.0.0.1" not in await response.text()


async def test_a_failure_whose_words_break_off_keeps_its_status(api: Api, world: World, upstream: ModelServer) -> None:
    upstream.script = breaking_body(b'{"error": {"mess', status=500, headers={"Content-Length": "1000"})
    async with api.chat(world.tenant.headers) as response:
        assert response.status == 500
        assert (await response.json())["error"]["code"] == "upstream_error"
    [record] = await recorded(world, 1)
    assert (record.outcome, record.http_status) == (InferenceOutcome.FAILED, 500)


async def test_trouble_with_the_model_server_is_not_the_callers(api: Api, world: World, upstream: ModelServer) -> None:
    for status in (401, 403, 302):
        upstream.script = refusing(status, {"error": "secret inner words"}, {"Location": "http://127.0.0.1:1/"})
        async with api.chat(world.tenant.headers) as response:
            assert response.status == 502
            assert "inner" not in await response.text()


async def test_wrong_methods_paths_and_types(api: Api, world: World) -> None:
    headers = world.tenant.headers
    async with api.client.get(f"{api.url}/v1/chat/completions", headers=headers) as response:
        assert (response.status, response.headers["allow"]) == (405, "POST")
    async with api.post("/v1/nothing", json={}, headers=headers) as response:
        assert response.status == 404
        assert "error" in await response.json()
    async with api.post("/v1/embeddings", data=b"{}", headers={**headers, "Content-Type": "text/plain"}) as response:
        assert response.status == 415
    async with api.post("/v1/embeddings", data=b"{}", headers={**headers, "Content-Encoding": "gzip"}) as response:
        assert response.status == 415


async def test_a_body_over_the_limit(api: Api, world: World) -> None:
    headers = {**world.tenant.headers, "Content-Type": "application/json"}
    async with api.post("/v1/chat/completions", data=BytesIO(b" " * 10_000_001), headers=headers) as response:
        assert response.status == 413
        assert (await response.json())["error"]["code"] == "payload_too_large"


async def test_a_large_body_goes_through(api: Api, world: World, upstream: ModelServer) -> None:
    text = "x" * 3_000_000
    body = orjson.dumps({"model": "echo", "messages": [{"role": "user", "content": text}]})
    headers = {**world.tenant.headers, "Content-Type": "application/json"}
    async with api.post("/v1/chat/completions", data=BytesIO(body), headers=headers) as response:
        assert response.status == 200
    assert upstream.heard[0].body["messages"][0]["content"] == text


async def test_nothing_private_is_written_down(
    api: Api, world: World, upstream: ModelServer, settings: Settings
) -> None:
    async with api.chat(world.tenant.headers, messages=[{"role": "user", "content": "planted-secret"}]) as response:
        assert response.status == 200
        assert "hello" in await response.text()
    await until(lambda: len(world.requests()) == 1)
    journal = b"".join(path.read_bytes() for path in (settings.home / "journal").rglob("*.log"))
    assert b"input_tokens" in journal
    for private in (b"planted-secret", b"hello", world.tenant.api_key.encode(), b"sv_"):
        assert private not in journal


@pytest.mark.parametrize("depth", [65, 500, 1_000])
async def test_a_body_nested_too_deeply_is_400(api: Api, world: World, upstream: ModelServer, depth: int) -> None:
    headers = {**world.tenant.headers, "content-type": "application/json"}
    content = b"[" * (depth - 2) + b'"x"' + b"]" * (depth - 2)
    body = b'{"model": "%b", "messages": %b}' % (MODEL.encode(), b"[%b]" % content)
    async with api.post("/v1/chat/completions", data=BytesIO(body), headers=headers) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (400, "invalid_json")
    assert upstream.heard == []


async def test_a_body_of_sixty_four_levels_is_passed_on(api: Api, world: World, upstream: ModelServer) -> None:
    headers = {**world.tenant.headers, "content-type": "application/json"}
    content = b"[" * 62 + b'"x"' + b"]" * 62
    body = b'{"model": "%b", "messages": %b}' % (MODEL.encode(), b"[%b]" % content)
    async with api.post("/v1/chat/completions", data=BytesIO(body), headers=headers) as response:
        assert response.status == 200
    assert len(upstream.heard) == 1


async def test_lists_without_number_are_400_before_they_become_objects(
    api: Api, world: World, upstream: ModelServer
) -> None:
    headers = {**world.tenant.headers, "content-type": "application/json"}
    body = b'{"model": "%b", "input": [%b1]}' % (MODEL.encode(), b"[]," * 1_000_000)
    async with api.post("/v1/embeddings", data=BytesIO(body), headers=headers) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (400, "invalid_json")
    assert upstream.heard == []
