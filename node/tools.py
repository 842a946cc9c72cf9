"""Tools: what may be asked for, and a call that has to be made.

llama.cpp leaves `tool_choice` to the template's own format, which it was seen not to enforce, and passes over a named function.
So a call that has to be made is asked for by a JSON schema, which its sampler obeys whatever the template says, and is put into
OpenAI's form here.
"""

import json
import re
from typing import Any
from uuid import uuid4

from node.bad_request import BadRequest, unsupported
from node.capabilities import Capabilities
from node.usage import Json

UNFINISHED_CALL = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(.*)', re.DOTALL)
"""The schema has its fields in this order; an answer that was cut off by its length ends anywhere."""


def check_tools(body: Json, capabilities: Capabilities) -> None:
    """Raises BadRequest."""
    tools, choice = body.get("tools"), body.get("tool_choice")
    if tools is not None and not isinstance(tools, list):
        raise BadRequest("`tools` has to be a list", "tools")
    for position, tool in enumerate(tools or []):
        _check_tool(tool, f"tools[{position}]")
    if tools and not capabilities.tools:
        raise unsupported("this model's chat template has no place for tools", "tools")
    if choice is None or choice in ("none", "auto"):
        return
    if not tools:
        raise BadRequest("`tool_choice` needs `tools` to choose from", "tool_choice")
    if choice != "required":
        _check_named(choice, [tool["function"]["name"] for tool in tools])


def forced_tools(body: Json) -> list[Json]:
    """The tools of which one has to be called. `body` has been checked."""
    choice = body.get("tool_choice")
    if choice is None or choice in ("none", "auto"):
        return []
    tools: list[Json] = body["tools"]
    return tools if choice == "required" else [t for t in tools if t["function"]["name"] == choice["function"]["name"]]


def asking_for_a_call(body: Json, tools: list[Json]) -> Json:
    """The request for the server: the model still reads all tools in its template; what it writes is a call of one of `tools`."""
    definitions, calls = {}, []
    for position, tool in enumerate(tools):
        function, name = tool["function"], f"tool{position}"
        parameters = function.get("parameters") or {"type": "object"}
        definitions[name] = _moved(parameters, f"#/$defs/{name}")
        properties = {"name": {"const": function["name"]}, "arguments": {"$ref": f"#/$defs/{name}"}}
        calls.append(
            {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
        )
    schema = {"$defs": definitions, **(calls[0] if len(calls) == 1 else {"anyOf": calls})}
    wanted = {"type": "json_schema", "json_schema": {"name": "tool_call", "schema": schema}}
    return body | {"tool_choice": "none", "response_format": wanted, "json_schema": None, "grammar": None}


class ForcedCalls:
    """The choices of an answer that is a call: their text is collected as it comes, and told as a call at the end of each."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}

    def add(self, event: Json) -> bool:
        """Put the event into its form. False for one that says nothing any more."""
        pieces = event.get("choices") or []
        is_worth_telling = not pieces
        for piece in pieces:
            delta, index = piece["delta"], piece["index"]
            if "role" not in delta:
                self._texts[index] = self._texts.get(index, "") + (delta.pop("content", None) or "")
            if piece.get("finish_reason"):
                call = _call(self._texts.pop(index, ""))
                if call is not None:
                    delta["tool_calls"] = [{"index": 0, **call}]
                    piece["finish_reason"] = (
                        "tool_calls" if piece["finish_reason"] == "stop" else piece["finish_reason"]
                    )
            is_worth_telling = is_worth_telling or bool(delta or piece.get("finish_reason"))
        return is_worth_telling


def _call(text: str) -> Json | None:
    """As an element of `tool_calls`; its arguments may be cut off. None where not even the name was written."""
    try:
        document = json.loads(text)
        name, arguments = document["name"], json.dumps(document["arguments"], ensure_ascii=False)
    except ValueError:
        found = UNFINISHED_CALL.fullmatch(text)
        if found is None:
            return None
        name, arguments = json.loads(found[1]), found[2]
    return {"id": f"call_{uuid4().hex[:24]}", "type": "function", "function": {"name": name, "arguments": arguments}}


def _check_tool(tool: Any, name: str) -> None:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        raise BadRequest(f"`{name}.type` has to be function", f"{name}.type")
    function = tool.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise BadRequest(f"`{name}.function.name` has to be a text", f"{name}.function.name")
    if not isinstance(function.get("description"), str | None):
        raise BadRequest(f"`{name}.function.description` has to be a text", f"{name}.function.description")
    if not isinstance(function.get("parameters"), dict | None):
        raise BadRequest(f"`{name}.function.parameters` has to be an object", f"{name}.function.parameters")


def _check_named(choice: Any, names: list[str]) -> None:
    function = choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise BadRequest("`tool_choice` has to be none, auto, required or one function", "tool_choice")
    if name not in names:
        raise BadRequest("`tool_choice` names a function that is not among `tools`", "tool_choice")


def _moved(schema: Any, root: str) -> Any:
    """The schema with its references to itself as they are below `root`."""
    if isinstance(schema, list):
        return [_moved(item, root) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {name: _moved(value, root) for name, value in schema.items()}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        moved["$ref"] = root + reference[1:]
    return moved
