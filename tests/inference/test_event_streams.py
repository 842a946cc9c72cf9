"""Every stream of events of the API says that nobody on the way may keep it or wait for more of it (nginx does both)."""

from collections.abc import Iterator

import pytest

from models.base.ids import new_id
from models.domain.fleet.operations import OperationKind
from models.tables.operations import Operation
from tests.factories.unstarted import unstarted_app
from tests.inference.model_server import DONE, ModelServer, chunk, streaming
from tests.inference.running import Api
from tests.inference.world import MODEL, World

WORDS = [chunk("one"), chunk(" two"), DONE]


def streaming_routes() -> Iterator[tuple[str, str]]:
    for path, operations in unstarted_app().openapi()["paths"].items():
        for method, operation in operations.items():
            if "text/event-stream" in operation["responses"].get("200", {}).get("content", {}):
                yield method.upper(), path


def test_there_are_streams() -> None:
    assert len(list(streaming_routes())) >= 4


@pytest.mark.parametrize(("method", "path"), list(streaming_routes()))
async def test_no_proxy_holds_a_stream_back(
    api: Api, world: World, upstream: ModelServer, method: str, path: str
) -> None:
    upstream.script = streaming(*WORDS)
    operation_id = new_id()
    operation = Operation(
        id=operation_id, organization_id=world.tenant.organization_id, kind=OperationKind.INSTANCE_PROVISION, resource_kind="instance",
        resource_id=new_id(), workflow_id="x",
    )  # fmt: skip
    world._add(operation)
    url = f"{api.url}{path.format(operation_id=operation_id)}"
    body = {"model": MODEL, "stream": True, "messages": [], "prompt": "x"} if method == "POST" else None
    async with api.client.request(method, url, json=body, headers=world.tenant.headers) as response:
        assert response.status == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers.getall("cache-control") == ["no-cache"]
        assert response.headers.getall("x-accel-buffering") == ["no"]
        assert await response.content.readany()


async def test_a_stream_that_is_replayed_is_one_too(api: Api, world: World, upstream: ModelServer) -> None:
    upstream.script = streaming(*WORDS)
    headers = {**world.tenant.headers, "idempotency-key": "once"}
    for is_replay in (False, True):
        async with api.chat(headers, stream=True) as response:
            assert ("idempotent-replayed" in response.headers) == is_replay
            assert response.headers.getall("cache-control") == ["no-cache"]
            assert response.headers.getall("x-accel-buffering") == ["no"]
            assert await response.read() == b"".join(WORDS)


async def test_an_answer_that_is_no_stream_is_not_kept_by_anybody(
    api: Api, world: World, upstream: ModelServer
) -> None:
    async with api.chat(world.tenant.headers) as response:
        assert response.headers.getall("cache-control") == ["no-store"]
        assert "x-accel-buffering" not in response.headers
