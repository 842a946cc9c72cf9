"""The OpenAPI 3.1 document: what the framework derives from the handlers, plus every error that a route can answer."""

import json
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field

from api.security.permissions import SESSION_COOKIE
from api.surfaces import Dialect, surface_for
from models.domain.errors_reference import sentences
from models.settings import Settings

METHODS = frozenset({"get", "put", "post", "delete", "patch", "head", "options"})
FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")
"""The framework's own error bodies, which this API never sends."""

WITH_CREDENTIALS = (401, 403, 503)
WITH_BODY = (400, 415)
ALWAYS = (413, 422)
"""A body that is too large, a NUL character or an unknown parameter can be sent to every path."""

ErrorResponses = dict[int | str, dict[str, Any]]


class Problem(BaseModel):
    """RFC 9457, with the keys that older clients read (`error`, `code`, `details`)."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(description="A URN that names the code.")
    title: str = Field(description="The HTTP status in words.")
    status: int
    detail: str = Field(description="What is wrong and what to do about it, for a person.")
    error: str = Field(description="The same as `detail`.")
    code: str = Field(
        description="What programs branch on: UPPER_SNAKE. `x-sentences` has each with its family and its sentences.",
    )
    details: dict[str, Any]
    request_id: str


class OpenAIErrorBody(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    """The error body of OpenAI's API."""

    error: OpenAIErrorBody


class StacksErrorBody(BaseModel):
    code: str
    message: str
    details: dict[str, Any]


class StacksError(BaseModel):
    """`message` and `errors` come with 422 only."""

    status: str
    error: StacksErrorBody
    message: str | None = None
    errors: list[dict[str, Any]] | None = None


ERROR_MODELS: dict[Dialect, tuple[type[BaseModel], str]] = {
    Dialect.PROBLEM: (Problem, "application/problem+json"),
    Dialect.OPENAI: (OpenAIError, "application/json"),
    Dialect.STACKS: (StacksError, "application/json"),
}


def errors(*statuses: int, dialect: Dialect = Dialect.PROBLEM) -> ErrorResponses:
    """For `responses=` of a route: what it answers besides the statuses that follow from its credentials, body and
    parameters, which are added to every route.
    """
    return {status: _error_response(status, dialect) for status in statuses}


def install_openapi(app: FastAPI, settings: Settings) -> None:
    """Make `app.openapi()` give the completed document, built once when first asked for."""

    @cache
    def document() -> dict[str, Any]:
        return _completed(
            get_openapi(
                title=app.title,
                version=app.version,
                openapi_version="3.1.0",
                description="Machines, model serving and their bills, owned by durable workflows.",
                routes=app.routes,
            ),
            settings.session_cookie_name,
        )

    app.openapi = document  # type: ignore[method-assign]  # the framework's documented way


def document_bytes(app: FastAPI) -> bytes:
    return json.dumps(app.openapi(), separators=(",", ":")).encode()


def _completed(document: dict[str, Any], cookie_name: str) -> dict[str, Any]:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in FRAMEWORK_SCHEMAS:
        schemas.pop(name, None)
    for model, _ in ERROR_MODELS.values():
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    schemas[Problem.__name__]["properties"]["code"]["x-sentences"] = sentences()
    cookie = components.get("securitySchemes", {}).get(SESSION_COOKIE)
    if cookie is not None:
        cookie["name"] = cookie_name
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method in METHODS:
                _add_errors(path, operation)
    return document


def _add_errors(path: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    described = responses.get("422", {})
    if "HTTPValidationError" in json.dumps(described):
        del responses["422"]
    dialect = surface_for(path).dialect
    for status, response in responses.items():
        if status.startswith(("4", "5")) and dialect is Dialect.PROBLEM:
            _as_problem(response)
    for status in _implied(operation):
        responses.setdefault(str(status), _error_response(status, dialect))
    operation["responses"] = dict(sorted(responses.items()))


def _as_problem(response: dict[str, Any]) -> None:
    """The framework documents every model as plain JSON, also that of an error which a route describes itself."""
    schema = response.get("content", {}).pop("application/json", None)
    if schema is not None:
        response["content"][ERROR_MODELS[Dialect.PROBLEM][1]] = schema


def _implied(operation: dict[str, Any]) -> Iterable[int]:
    yield from ALWAYS
    if operation.get("security"):
        yield from WITH_CREDENTIALS
    if "requestBody" in operation:
        yield from WITH_BODY


def _error_response(status: int, dialect: Dialect) -> dict[str, Any]:
    model, media_type = ERROR_MODELS[dialect]
    response: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {media_type: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}},
    }
    if status in {429, 503}:
        seconds = {"description": "Seconds to wait before trying again.", "schema": {"type": "integer", "minimum": 1}}
        response["headers"] = {"Retry-After": seconds}
    return response
