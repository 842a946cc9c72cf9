"""Errors in the form that OpenAI clients read."""

import json
from typing import Any

from aiohttp import web

Json = dict[str, Any]


def openai_error(
    status: int,
    message: str,
    *,
    code: str | None,
    kind: str = "invalid_request_error",
    param: str | None = None,
    retry_after_s: int | None = None,
) -> web.Response:
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return web.json_response(_body(message, kind, code, param), status=status, headers=headers)


CLIENTS_MISTAKES = (
    "Failed to parse messages",
    "Failed to parse tools",
    "Failed to parse tool call arguments",
    "Cannot use both json_schema and grammar",
    "Unknown reasoning format",
    "image input is not supported",
    "audio input is not supported",
    "video input is not supported",
    "[json.exception.",
)
"""What llama.cpp says with a 500 of a request it cannot read. Most of it is noticed before (`fields`, `messages`, `tools`)."""

_CODES = {"exceed_context_size_error": "context_length_exceeded", "not_supported_error": "not_supported"}


def translate(status: int, body: bytes) -> web.Response:
    """llama.cpp's error in OpenAI's form: it puts the HTTP status where clients expect a code."""
    status, told = translated(status, body)
    return web.json_response(told, status=status)


def translated(status: int, body: bytes) -> tuple[int, Json]:
    """The status and the body of `translate`."""
    try:
        error = json.loads(body)["error"]
        message, kind = str(error["message"]), str(error["type"])
    except (ValueError, KeyError, TypeError):
        message, kind = "the model server failed", "server_error"
    if status == 500 and "too large to process" in message:  # an embedding input has to fit one batch
        status, kind, message = 400, "exceed_context_size_error", "the input is too long to be embedded at once"
    if status == 500 and message.startswith(CLIENTS_MISTAKES):
        status, kind = 400, "invalid_request_error"
    if kind == "exceed_context_size_error":
        return status, _body(message, "invalid_request_error", "context_length_exceeded", None)
    return status, _body(message, kind, _CODES.get(kind, kind), None)


def _body(message: str, kind: str, code: str | None, param: str | None) -> Json:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
