"""A conversation as OpenAI's reference has it: https://platform.openai.com/docs/api-reference/chat/create, `messages`."""

import json
from typing import Any

from node.bad_request import BadRequest, unsupported
from node.capabilities import Capabilities
from node.usage import Json

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MEDIA = {"image_url": "images", "input_audio": "audio", "video_url": "video", "file": "files"}


def check_messages(messages: Any, capabilities: Capabilities) -> None:
    """Raises BadRequest."""
    if not isinstance(messages, list) or not messages:
        raise BadRequest("`messages` has to be a list with at least one message", "messages")
    for position, message in enumerate(messages):
        name = f"messages[{position}]"
        if not isinstance(message, dict):
            raise BadRequest(f"`{name}` has to be an object", name)
        if message.get("role") not in ROLES:
            raise BadRequest(f"`{name}.role` has to be one of {', '.join(ROLES)}", f"{name}.role")
        _check_content(message, f"{name}.content", capabilities)
        if message.get("tool_calls") is not None:
            _check_calls(message["tool_calls"], f"{name}.tool_calls")


def _check_content(message: Json, name: str, capabilities: Capabilities) -> None:
    content = message.get("content")
    if isinstance(content, str) or (content is None and message["role"] == "assistant"):
        return
    if not isinstance(content, list) or not content:
        raise BadRequest(f"`{name}` has to be a text or a list of parts", name)
    for position, part in enumerate(content):
        _check_part(part, f"{name}[{position}]", capabilities)


def _check_part(part: Any, name: str, capabilities: Capabilities) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        if not isinstance(part.get("text"), str):
            raise BadRequest(f"`{name}.text` has to be a text", f"{name}.text")
    elif kind not in MEDIA:
        raise BadRequest(f"`{name}.type` is none that this model knows", f"{name}.type")
    elif not {"image_url": capabilities.vision, "input_audio": capabilities.audio}.get(kind, False):
        raise unsupported(f"this model does not take {MEDIA[kind]}", name)


def _check_calls(calls: Any, name: str) -> None:
    if not isinstance(calls, list):
        raise BadRequest(f"`{name}` has to be a list", name)
    for position, call in enumerate(calls):
        at = f"{name}[{position}]"
        if not isinstance(call, dict) or call.get("type") != "function":
            raise BadRequest(f"`{at}.type` has to be function", f"{at}.type")
        function = call.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise BadRequest(f"`{at}.function.name` has to be a text", f"{at}.function.name")
        _check_arguments(function.get("arguments"), f"{at}.function.arguments")


def _check_arguments(arguments: Any, name: str) -> None:
    """An object in JSON, as a text. llama.cpp takes the object itself, too."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            arguments = None
    if not isinstance(arguments, dict):
        raise BadRequest(f"`{name}` has to be the text of a JSON object", name)
