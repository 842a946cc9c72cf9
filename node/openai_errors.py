"""Errors in the form that OpenAI clients read."""

import json

from aiohttp import web


def openai_error(
    status: int, message: str, *, code: str, kind: str = "invalid_request_error", retry_after_s: int | None = None
) -> web.Response:
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return web.json_response(body, status=status, headers=headers)


_CODES = {"exceed_context_size_error": "context_length_exceeded", "not_supported_error": "not_supported"}


def translate(status: int, body: bytes) -> web.Response:
    """llama.cpp's error in OpenAI's form: it puts the HTTP status where clients expect a code."""
    try:
        error = json.loads(body)["error"]
        message, kind = str(error["message"]), str(error["type"])
    except (ValueError, KeyError, TypeError):
        message, kind = "the model server failed", "server_error"
    if status == 500 and "too large to process" in message:  # an embedding input has to fit one batch
        status, kind, message = 400, "exceed_context_size_error", "the input is too long to be embedded at once"
    if kind == "exceed_context_size_error":
        return openai_error(status, message, code="context_length_exceeded")
    return openai_error(status, message, code=_CODES.get(kind, kind), kind=kind)
