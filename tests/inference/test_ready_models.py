"""The models that are ready: how they are told, and what they are not asked for."""

from typing import Any
from urllib.parse import quote

import pytest

from models.base.clock import utc_now
from tests.inference.model_server import ModelServer, model_server
from tests.inference.running import Api, routable
from tests.inference.world import MODEL, World

ABLE = {"tools": True, "vision": False, "audio": False, "max_model_len": 1024}
UNABLE = ABLE | {"tools": False}
TOOLS = [{"type": "function", "function": {"name": "f"}}]


async def get(api: Api, world: World, path: str = "", method: str = "GET") -> tuple[int, Any, dict[str, str]]:
    async with api.client.request(method, f"{api.url}/v1/models{path}", headers=world.tenant.headers) as response:
        body = await response.json(content_type=None) if method == "GET" else await response.read()
        return response.status, body, {name.lower(): value for name, value in response.headers.items()}


async def test_the_list_has_what_is_ready(api: Api, world: World, upstream: ModelServer) -> None:
    status, listing, _ = await get(api, world)
    assert (status, listing["object"]) == (200, "list")
    [model] = listing["data"]
    assert (model["id"], model["object"], model["owned_by"]) == (MODEL, "model", "quarterdeck")
    assert abs(model["created"] - utc_now().timestamp()) < 600
    assert (model["max_model_len"], model["capabilities"]) == (2048, {}), (
        "the catalogue's length; its agent tells nothing"
    )


async def test_created_stays(api: Api, world: World, upstream: ModelServer) -> None:
    """It was the time of the last heartbeat."""
    _, before, _ = await get(api, world)
    world.beat(utc_now().replace(year=2030))
    await routable(api, world, 1)
    world.add_instance(upstream.port)
    await routable(api, world, 2)
    _, after, _ = await get(api, world)
    assert before == after


async def test_one_model_by_any_of_its_names(api: Api, world: World, upstream: ModelServer) -> None:
    _, listing, _ = await get(api, world)
    for name in (MODEL, quote(MODEL, safe=""), "echo", str(world.model_id)):
        assert (await get(api, world, f"/{name}"))[:2] == (200, listing["data"][0])
    world.add_model("idle", "example/idle")
    for name in ("unknown", "example/unknown", "example/echo-1b/x", "example%2Fidle"):
        status, body, _ = await get(api, world, f"/{name}")
        assert (status, body["error"]["code"], body["error"]["param"]) == (404, "model_not_found", "model")


async def test_head_is_get_without_the_body(api: Api, world: World, upstream: ModelServer) -> None:
    for path in ("", f"/{MODEL}", "/unknown"):
        status, _, told = await get(api, world, path)
        head_status, nothing, head_told = await get(api, world, path, "HEAD")
        assert (head_status, nothing) == (status, b"")
        assert (head_told["content-length"], head_told["content-type"]) == (
            told["content-length"],
            told["content-type"],
        )


async def test_what_an_agent_tells_is_told(api: Api, world: World) -> None:
    async with model_server() as server:
        world.add_instance(server.port, capabilities=UNABLE)
        await routable(api, world, 1)
        _, listing, _ = await get(api, world)
    [model] = listing["data"]
    assert (model["max_model_len"], model["capabilities"]) == (1024, {"tools": False, "vision": False, "audio": False})


@pytest.mark.parametrize(
    ("capabilities", "status"), [([UNABLE], 400), ([UNABLE, None], 400), ([ABLE], 200), ([None], 200)]
)
async def test_tools_are_refused_where_a_model_would_never_see_them(
    api: Api, world: World, capabilities: list[dict[str, Any] | None], status: int
) -> None:
    """An agent of an older version tells nothing: it is asked."""
    async with model_server() as server:
        for each in capabilities:
            world.add_instance(server.port, capabilities=each)
        await routable(api, world, len(capabilities))
        async with api.chat(world.tenant.headers, tools=TOOLS) as response:
            body = await response.json()
        assert response.status == status
        if status == 400:
            error = body["error"]
            assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "not_supported", "tools")
            assert server.heard == []
        async with api.chat(world.tenant.headers, tools=[]) as response:
            assert response.status == 200
