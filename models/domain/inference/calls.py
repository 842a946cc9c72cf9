"""A caller's request as the proxy reads it: which model, streamed or not; every other field goes on as it came."""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any

import orjson

from models.base.errors import MalformedRequest
from models.domain.inference.taps import MOST_CHOICES, BodyTap, StreamTap, Tap
from models.domain.inference.usage import input_tokens


class Endpoint(StrEnum):
    CHAT_COMPLETIONS = "/v1/chat/completions"
    COMPLETIONS = "/v1/completions"
    EMBEDDINGS = "/v1/embeddings"


@dataclass(slots=True)
class Call:
    """`document` is the request body, parsed; `upstream_body` rewrites it in place."""

    endpoint: Endpoint
    document: dict[str, Any]
    model: str
    is_stream: bool
    wants_usage: bool

    @property
    def has_tools(self) -> bool:
        return self.endpoint is Endpoint.CHAT_COMPLETIONS and bool(self.document.get("tools"))

    def input_tokens(self) -> int:
        """Estimate, for the record of a request that no server reported on."""
        return input_tokens(self.document)

    def upstream_body(self, model_id: str) -> bytes:
        """The same request for the model's own id, asking for the usage of a stream. Raises MalformedRequest."""
        self.document["model"] = model_id
        if self.is_stream:
            options = self.document.get("stream_options")
            self.document["stream_options"] = {**(options or {}), "include_usage": True}
        return _dumps(self.document)

    def digest(self) -> str:
        """The same for equal requests however they are written. Raises MalformedRequest. To be asked before `upstream_body`."""
        return sha256(_dumps(self.document, orjson.OPT_SORT_KEYS)).hexdigest()

    def tap(self, *, is_event_stream: bool) -> Tap:
        """What reads the answer. Its content type decides: a server may answer a streamed request with a plain error."""
        if not is_event_stream:
            return BodyTap()
        options = self.document.get("stream_options")
        return StreamTap(
            strip_usage=self.is_stream and not self.wants_usage,
            keeps_running=bool(isinstance(options, dict) and options.get("continuous_usage_stats")),
            choices_per_prompt=self._choices_per_prompt(),
        )

    def _choices_per_prompt(self) -> int:
        """A conversation is one prompt, however many answers it gets; texts may be many, each with so many continuations."""
        count = self.document.get("n")
        if self.endpoint is Endpoint.COMPLETIONS:
            return count if isinstance(count, int) and count > 0 else 1
        return MOST_CHOICES


def parse_call(endpoint: Endpoint, body: bytes, default_model: str | None = None) -> Call:
    """Raises MalformedRequest: `INVALID_JSON`, `MISSING_MODEL`, `INVALID_PARAMETER` (naming the field)."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _invalid_json("the request body is not valid JSON") from None
    if not isinstance(document, dict):
        raise _invalid_json("the request body is not a JSON object")
    model = document.get("model")
    if model is not None and not isinstance(model, str):
        raise _invalid_parameter("model", "a text")
    name = (model or "").strip() or default_model
    if not name:
        raise MalformedRequest(
            "name a model in the field `model`; GET /v1/models lists those that are ready",
            code="MISSING_MODEL",
            details={"param": "model"},
        )
    is_stream = document.get("stream")
    if is_stream is not None and not isinstance(is_stream, bool):
        raise _invalid_parameter("stream", "true or false")
    options = document.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise _invalid_parameter("stream_options", "an object")
    streams = bool(is_stream) and endpoint is not Endpoint.EMBEDDINGS
    return Call(endpoint, document, name, streams, bool((options or {}).get("include_usage")))


def _dumps(document: dict[str, Any], option: int = 0) -> bytes:
    try:
        return orjson.dumps(document, option=option)
    except orjson.JSONEncodeError as error:  # it reads 1,024 levels and writes 254
        raise _invalid_json("the request body is nested too deeply") from error


def _invalid_json(message: str) -> MalformedRequest:
    return MalformedRequest(message, code="INVALID_JSON")


def _invalid_parameter(name: str, kind: str) -> MalformedRequest:
    return MalformedRequest(f"`{name}` is not {kind}", code="INVALID_PARAMETER", details={"param": name})
