"""The inference paths as routes of the app, so that its document and its lists have them.

They hand over to the inference application, to which the app sends such requests before any route is looked for.
"""

from typing import Any

from fastapi import APIRouter, Depends
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.deps import State
from api.http.openapi import ErrorResponses, errors
from api.http.routing import Route
from api.inference.composition import Inference
from api.security.permissions import require
from api.surfaces import Dialect
from models.domain.permissions.inference import InferencePermission


class HandedOver(Response):
    """The answer that another application gives to the same request."""

    def __init__(self, application: ASGIApp, status_code: int = 200) -> None:
        super().__init__(status_code=status_code)
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application(scope, receive, send)


router = APIRouter(
    prefix="/v1",
    tags=["openai"],
    default_response_class=HandedOver,
    route_class=Route,
    dependencies=[Depends(require(InferencePermission.INFERENCE))],
)

OBJECT: dict[str, Any] = {"type": "object", "additionalProperties": True}
MODEL = {
    "type": "string",
    "description": "Hugging Face id, catalogue code or uuid of a model; GET /v1/models lists those that are ready.",
}
STREAM_FIELDS: dict[str, Any] = {
    "stream": {"type": ["boolean", "null"], "description": "Answer with server-sent events as they are made."},
    "stream_options": {
        "type": ["object", "null"],
        "properties": {"include_usage": {"type": "boolean", "description": "End the stream with a chunk of usage."}},
        "additionalProperties": True,
    },
}
TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {}}]}
HEADERS: list[dict[str, Any]] = [
    {
        "name": "X-Quarterdeck-Session",
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": "Requests with the same text go to the same instance while it lasts; over 256 characters count as none.",
    },
    {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        "description": "The call goes on when its caller is gone; its answer is kept for 24 hours under this key.",
    },
]


def _responses(*, streams: bool) -> ErrorResponses:
    content: dict[str, dict[str, Any]] = {"application/json": {"schema": OBJECT}}
    if streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    refusal = {
        "description": "The model server's own refusal of the request, as it gave it.",
        "content": {"application/json": {"schema": OBJECT}},
    }
    answer = {"description": "The model server's answer, as it gave it.", "content": content}
    return {200: answer, "4XX": refusal, "5XX": refusal, **errors(404, 409, 429, 501, 502, 504, dialect=Dialect.OPENAI)}


def _extra(*required: str, **fields: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"model": MODEL, **fields}, "required": ["model", *required]}
    body = {"required": True, "content": {"application/json": {"schema": {**schema, "additionalProperties": True}}}}
    return {"requestBody": body, "parameters": HEADERS}


@router.get(
    "/models",
    summary="Models that are ready to answer",
    responses={200: {"description": "OpenAI's list.", "content": {"application/json": {"schema": OBJECT}}}},
)
async def list_ready_models(state: State) -> Response:
    """Those for which your organization has an instance that is ready and was heard of lately."""
    return HandedOver(state.of(Inference).edge)


@router.get(
    "/models/{model_id:path}",
    summary="One model that is ready to answer",
    responses={
        200: {"description": "OpenAI's model.", "content": {"application/json": {"schema": OBJECT}}},
        **errors(404, dialect=Dialect.OPENAI),
    },
)
async def read_ready_model(state: State, model_id: str) -> Response:
    """By any of its names; a Hugging Face id has a slash in it. `capabilities` leaves out what its agents do not tell."""
    return HandedOver(state.of(Inference).edge)


@router.post(
    "/chat/completions",
    summary="Answer a conversation",
    responses=_responses(streams=True),
    openapi_extra=_extra("messages", messages={"type": "array", "items": OBJECT}, **STREAM_FIELDS),
)
async def create_chat_completion(state: State) -> Response:
    """OpenAI's chat completions. Every field goes on to the model server."""
    return HandedOver(state.of(Inference).edge)


@router.post(
    "/completions",
    summary="Continue a text",
    responses=_responses(streams=True),
    openapi_extra=_extra("prompt", prompt=TEXTS, **STREAM_FIELDS),
)
async def create_completion(state: State) -> Response:
    """OpenAI's completions. Every field goes on to the model server."""
    return HandedOver(state.of(Inference).edge)


@router.post(
    "/embeddings",
    summary="Embed texts",
    responses=_responses(streams=False),
    openapi_extra=_extra("input", input=TEXTS),
)
async def create_embedding(state: State) -> Response:
    """OpenAI's embeddings. Every field goes on to the model server."""
    return HandedOver(state.of(Inference).edge)
