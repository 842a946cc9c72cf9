"""Failures as responses, in the dialect of the surface. Nothing else in this program builds an error body."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope, Send

from api.surfaces import Dialect, surface_for
from models.base.errors import AppError, PayloadTooLarge
from models.base.ids import new_id

FIELDS_LIMIT = 20
"""Most field errors that one answer lists."""
LOCATION_LIMIT = 100
"""Longest name of a field in an answer: names may be the caller's own."""

OPENAI_TYPES = {
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}
"""`error.type` as OpenAI's API names it; the other 4xx (a wrong key, too) are `invalid_request_error`, the 5xx `server_error`."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, before a surface gives it a shape."""

    status: int
    code: str
    message: str
    details: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    param: str | None = None


def failure_of(error: AppError) -> Failure:
    headers: dict[str, str] = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return Failure(error.status, error.code, error.message, error.details, headers)


UNEXPECTED = Failure(500, "INTERNAL", "this is a fault of the server; its log has more under the request id")


def body_too_large(limit_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"the body is larger than {limit_bytes} bytes; send less at a time", details={"limit_bytes": limit_bytes}
    )


def response_to(failure: Failure, path: str, request_id: str) -> Response:
    """The failure in the dialect of the path's surface."""
    dialect = surface_for(path).dialect
    body = _BODIES[dialect](failure, request_id)
    media_type = "application/problem+json" if dialect is Dialect.PROBLEM else "application/json"
    # ASCII escapes: what a caller sent may come back in `details`, and may not be encodable.
    content = json.dumps(body, separators=(",", ":"), default=str).encode()
    return Response(content, failure.status, dict(failure.headers), media_type)


def as_bytes(failure: Failure) -> bytes:
    """For what never becomes a request: the whole answer, after which the connection ends."""
    response = response_to(failure, "/", str(new_id()))
    head = f"HTTP/1.1 {failure.status} {HTTPStatus(failure.status).phrase}".encode()
    headers = (b": ".join(pair) for pair in (*response.raw_headers, (b"connection", b"close")))
    return b"\r\n".join((head, *headers)) + b"\r\n\r\n" + bytes(response.body)


async def send_failure(failure: Failure, scope: Scope, send: Send) -> None:
    """For what answers below the framework: the same body, sent at once."""
    response = response_to(failure, scope["path"], request_id_of(scope))
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body})


def request_id_of(scope: Scope) -> str:
    return str(scope.get("state", {}).get("request_id", ""))


def install_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(AppError, _app_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(WebSocketRequestValidationError, _of_a_socket)


async def _app_error(request: Request, error: Exception) -> Response:
    if request.scope["type"] != "http":  # a socket, which its edge ends (`api.http.socket_edge`)
        raise error
    assert isinstance(error, AppError)  # noqa: S101  (registered for this class)
    return _respond(request, failure_of(error))


async def _of_a_socket(_socket: Request, error: Exception) -> Response:
    raise error


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return _respond(request, _invalid(request, error.errors()))


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    if isinstance(error.__cause__, AppError):  # raised while the framework read the body
        return _respond(request, failure_of(error.__cause__))
    return _respond(request, _of_status(request, error))


def _respond(request: Request, failure: Failure) -> Response:
    return response_to(failure, request.url.path, request_id_of(request.scope))


def _of_status(request: Request, error: HTTPException) -> Failure:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return Failure(404, "ROUTE_NOT_FOUND", "there is no such path; /api-docs/openapi.json lists those that exist")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(_methods_of(request))
        message = f"this path does not answer {request.method}; it answers: {allowed}"
        return Failure(405, "METHOD_NOT_ALLOWED", message, headers={"allow": allowed})
    if error.status_code == HTTPStatus.BAD_REQUEST:
        return Failure(400, "MALFORMED_REQUEST", "the body cannot be read; send one JSON value in UTF-8")
    status = HTTPStatus(error.status_code)
    return Failure(status, status.name, status.phrase, headers=dict(error.headers or {}))


def _methods_of(request: Request) -> list[str]:
    """Every method that some route of this path answers."""
    methods: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        if route.methods and route.path_regex.match(request.scope["path"]):
            methods |= route.methods
    return sorted(methods)


def _invalid(request: Request, errors: Sequence[Any]) -> Failure:
    first = errors[0] if errors else {"type": "", "loc": ()}
    if first["type"] == "json_invalid":
        return Failure(400, "MALFORMED_REQUEST", "the body is not valid JSON", {"position": first["loc"][-1]})
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = content_type == "application/json" or content_type.endswith("+json")
    if not is_json and any(tuple(error["loc"]) == ("body",) and error["type"] != "missing" for error in errors):
        return Failure(415, "UNSUPPORTED_MEDIA_TYPE", "send the body as application/json")
    return invalid_fields(errors)


def invalid_fields(errors: Sequence[Any]) -> Failure:
    """What each field has wrong, as the framework found it."""
    fields = [
        {
            "loc": [_bounded(part) for part in error["loc"]],
            "message": _bounded(error["msg"], 300),
            "type": error["type"],
        }
        for error in errors[:FIELDS_LIMIT]
    ]
    where = ".".join(str(part) for part in fields[0]["loc"]) if fields else ""
    message = f"{where}: {fields[0]['message']}" if fields else "the request is not valid"
    return Failure(422, "INVALID_REQUEST", message, {"fields": fields}, param=where or None)


def _bounded(part: object, limit: int = LOCATION_LIMIT) -> object:
    return part if isinstance(part, int) else str(part)[:limit]


def problem_body(failure: Failure, request_id: str) -> dict[str, object]:
    return {
        "type": f"urn:quarterdeck:problem:{failure.code.lower().replace('_', '-')}",
        "title": HTTPStatus(failure.status).phrase,
        "status": int(failure.status),
        "detail": failure.message,
        "error": failure.message,
        "code": failure.code,
        "details": dict(failure.details),
        "request_id": request_id,
    }


def _openai(failure: Failure, _request_id: str) -> dict[str, object]:
    kind = OPENAI_TYPES.get(failure.status, "server_error" if failure.status >= 500 else "invalid_request_error")
    return {"error": {"message": failure.message, "type": kind, "param": failure.param, "code": failure.code.lower()}}


def _stacks(failure: Failure, request_id: str) -> dict[str, object]:
    details = {**failure.details, "request_id": request_id}
    body: dict[str, object] = {
        "status": "error",
        "error": {"code": failure.code, "message": failure.message, "details": details},
    }
    if failure.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        body |= {"message": failure.message, "errors": failure.details.get("fields", [])}
    return body


_BODIES = {Dialect.PROBLEM: problem_body, Dialect.OPENAI: _openai, Dialect.STACKS: _stacks}
