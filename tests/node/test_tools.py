"""Tools: a model whose template has none says so, and a call that has to be made is made."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from activities.adapters.local.model_files import resolve_model_file
from tests.fakes.control_plane import ControlPlane, running_control_plane
from tests.node.gguf_template import TOOLS, with_template
from tests.node.machine import MODEL_FILE, SERVING_KEY, NodeMachine, until
from tests.node.test_serving import chat, events, post

CHAT = "/v1/chat/completions"
PLACE = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 6}}, "required": ["name"], "additionalProperties": False}  # fmt: skip
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object", "required": ["city"], "additionalProperties": False,
            "properties": {"city": {"$ref": "#/$defs/Place"}}, "$defs": {"Place": PLACE},
        },
    },
}  # fmt: skip
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}}  # fmt: skip
NAMED = {"type": "function", "function": {"name": "weather"}}
ASKED: dict[str, Any] = chat("Hello, who are you?", max_tokens=60, temperature=0, tools=[WEATHER, CLOCK])


@pytest.fixture(scope="module")
async def tools_plane() -> AsyncIterator[ControlPlane]:
    async with running_control_plane() as plane:
        yield plane


@pytest.fixture(scope="module")
async def tools_client(
    tmp_path_factory: pytest.TempPathFactory, tools_plane: ControlPlane
) -> AsyncIterator[aiohttp.ClientSession]:
    """A machine whose model has a template with tools."""
    folder = tmp_path_factory.mktemp("tools")
    model = with_template(resolve_model_file(MODEL_FILE, folder), folder / "tools.gguf", TOOLS)
    node = NodeMachine(folder / "machine", tools_plane.url, model_file=str(model))
    await node.start()
    headers = {"Authorization": f"Bearer {SERVING_KEY}"}
    try:
        await until(tools_plane.serves)
        async with aiohttp.ClientSession(node.url, headers=headers, timeout=aiohttp.ClientTimeout(total=60)) as session:
            yield session
    finally:
        await node.end()
        model.unlink()


def checked(call: dict[str, Any]) -> str:
    """The name of the function, once its arguments are as its schema has them."""
    arguments = json.loads(call["function"]["arguments"])
    assert call["type"] == "function"
    assert call["id"]
    if call["function"]["name"] == "weather":
        assert arguments.keys() == {"city"}
        assert isinstance(arguments["city"]["name"], str)
    else:
        assert arguments == {}
    return str(call["function"]["name"])


@pytest.mark.parametrize(("choice", "names"), [("required", {"weather", "clock"}), (NAMED, {"weather"})])
async def test_a_call_that_has_to_be_made_is_made(
    tools_client: aiohttp.ClientSession, choice: Any, names: set[str]
) -> None:
    status, body = await post(tools_client, CHAT, ASKED | {"tool_choice": choice})
    assert status == 200, body
    (answer,) = body["choices"]
    assert answer["finish_reason"] == "tool_calls"
    assert answer["message"]["content"] is None
    (call,) = answer["message"]["tool_calls"]
    assert checked(call) in names


async def test_the_same_in_a_stream(tools_client: aiohttp.ClientSession) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    async with tools_client.post(CHAT, json=ASKED | {"tool_choice": NAMED, "n": 2} | options) as response:
        *chunks, done = await events(response)
    assert done == "[DONE]"
    *parsed, usage = (json.loads(chunk) for chunk in chunks)
    calls = {}
    for chunk in parsed:
        for piece in chunk["choices"]:
            assert not piece["delta"].get("content")
            for call in piece["delta"].get("tool_calls", []):
                calls[piece["index"]] = checked(call)
                assert piece["finish_reason"] == "tool_calls"
    assert calls == {0: "weather", 1: "weather"}
    assert usage["usage"]["completion_tokens"] > 10


async def test_a_call_that_is_cut_off_is_told_as_far_as_it_came(tools_client: aiohttp.ClientSession) -> None:
    _, body = await post(tools_client, CHAT, ASKED | {"tool_choice": NAMED, "max_tokens": 16})
    (answer,) = body["choices"]
    assert answer["finish_reason"] == "length"
    for call in answer["message"].get("tool_calls", []):
        assert call["function"]["name"] == "weather"


async def test_a_choice_that_forces_nothing_leaves_the_answer_to_the_model(tools_client: aiohttp.ClientSession) -> None:
    _, free = await post(tools_client, CHAT, ASKED | {"tool_choice": "auto"})
    _, none = await post(tools_client, CHAT, ASKED | {"tool_choice": "none"})
    assert free["choices"][0]["message"]["content"]
    assert none["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    "choice", [{"type": "function", "function": {"name": "other"}}, {"type": "allowed_tools"}, "other", 5]
)
async def test_a_choice_that_cannot_be_kept_is_refused(tools_client: aiohttp.ClientSession, choice: Any) -> None:
    status, body = await post(tools_client, CHAT, ASKED | {"tool_choice": choice})
    assert (status, body["error"]["param"]) == (400, "tool_choice")


async def test_a_model_without_tools_refuses_them(client: aiohttp.ClientSession) -> None:
    for choice in ("auto", "required", NAMED, None):
        status, body = await post(client, CHAT, ASKED | {"tool_choice": choice})
        assert (status, body["error"]["code"], body["error"]["param"]) == (400, "not_supported", "tools")


async def test_what_a_model_can_do_is_in_its_heartbeats(
    tools_client: aiohttp.ClientSession,
    client: aiohttp.ClientSession,
    tools_plane: ControlPlane,
    module_plane: ControlPlane,
) -> None:
    for plane, session, has_tools in ((tools_plane, tools_client, True), (module_plane, client, False)):
        first = next(beat for beat in plane.beats if beat.body["status"] == "ready")
        expected = {"tools": has_tools, "vision": False, "audio": False, "max_model_len": 1024}
        assert first.body["metadata"]["capabilities"] == expected
        async with session.get("/v1/models") as response:
            [model] = (await response.json())["data"]
        assert model["capabilities"] == {"tools": has_tools, "vision": False, "audio": False}
        assert model["max_model_len"] == 1024
