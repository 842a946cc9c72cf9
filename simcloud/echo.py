"""The words of a simulated model: what it answers, how it counts, and the JSON of OpenAI's API around it. Pure functions.

Shapes: https://platform.openai.com/docs/api-reference/chat and /completions, /embeddings.
"""

import base64
import hashlib
import math
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PREFIX = "echo from the simulated cloud: "
ECHOED_CHARACTERS = 200
CHARACTERS_PER_TOKEN = 4
EMBEDDING_DIMENSIONS = 64


class BadBody(Exception):
    """The request body is not one that this API takes; the message says why, `param` names the field."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


@dataclass(frozen=True)
class Reply:
    """An answer in the pieces in which it streams."""

    id: str
    model: str
    pieces: tuple[str, ...]
    prompt_tokens: int
    finish_reason: str
    is_chat: bool
    created: int

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def usage(self, pieces: int | None = None) -> dict[str, int]:
        """For the whole answer, or for the first `pieces` of it."""
        completion = tokens("".join(self.pieces[:pieces]))
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
        }

    def body(self) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "finish_reason": self.finish_reason, "logprobs": None}
        choice |= {"message": {"role": "assistant", "content": self.text}} if self.is_chat else {"text": self.text}
        kind = "chat.completion" if self.is_chat else "text_completion"
        return self._frame(kind) | {"choices": [choice], "usage": self.usage()}

    def chunks(self, *, include_usage: bool) -> Iterator[tuple[int, dict[str, Any]]]:
        """(pieces sent once this chunk is out, chunk): role, one per piece, finish, and usage only where it was asked for."""
        if self.is_chat:
            yield 0, self._chunk({"role": "assistant", "content": ""}, None, include_usage=include_usage)
        for number, piece in enumerate(self.pieces, start=1):
            yield number, self._chunk({"content": piece}, None, include_usage=include_usage)
        yield len(self.pieces), self._chunk({}, self.finish_reason, include_usage=include_usage)
        if include_usage:
            kind = "chat.completion.chunk" if self.is_chat else "text_completion"
            yield len(self.pieces), self._frame(kind) | {"choices": [], "usage": self.usage()}

    def _chunk(self, delta: dict[str, str], finish_reason: str | None, *, include_usage: bool) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": finish_reason}
        choice |= {"delta": delta} if self.is_chat else {"text": delta.get("content", "")}
        chunk = self._frame("chat.completion.chunk" if self.is_chat else "text_completion") | {"choices": [choice]}
        return chunk | {"usage": None} if include_usage else chunk

    def _frame(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def tokens(text: str) -> int:
    """About one per four characters: the rule of thumb for English in OpenAI's own guide."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def chat_reply(body: Mapping[str, Any], reply_id: str, model: str, chunk_count: int | None) -> Reply:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise BadBody("messages is a list with at least one message", "messages")
    texts = [_content(message.get("content")) for message in messages]
    prompt_tokens = sum(tokens(text) for text in texts)
    limit = _limit(body, "max_completion_tokens") or _limit(body, "max_tokens")
    return _reply(
        texts[-1], prompt_tokens=prompt_tokens, reply_id=f"chatcmpl-{reply_id}", model=model, chunk_count=chunk_count,
        limit=limit, is_chat=True,
    )  # fmt: skip


def completion_reply(body: Mapping[str, Any], reply_id: str, model: str, chunk_count: int | None) -> Reply:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and prompt and all(isinstance(part, str) for part in prompt):
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise BadBody("prompt is a text or a list of texts", "prompt")
    return _reply(
        prompt, prompt_tokens=tokens(prompt), reply_id=f"cmpl-{reply_id}", model=model, chunk_count=chunk_count,
        limit=_limit(body, "max_tokens"), is_chat=False,
    )  # fmt: skip


def embeddings(body: Mapping[str, Any], model: str) -> tuple[dict[str, Any], int]:
    """The answer and its tokens. Equal texts have equal vectors of length 1; nothing more is promised of them."""
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise BadBody("input is a text or a list of texts", "input")
    as_base64 = body.get("encoding_format") == "base64"
    data = []
    for index, text in enumerate(texts):
        vector = _vector(text)
        packed = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": packed if as_base64 else vector})
    used = sum(tokens(text) for text in texts)
    return {
        "object": "list",
        "model": model,
        "data": data,
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }, used


def _reply(
    heard: str,
    *,
    prompt_tokens: int,
    reply_id: str,
    model: str,
    chunk_count: int | None,
    limit: int | None,
    is_chat: bool,
) -> Reply:
    pieces = _words(PREFIX + heard[:ECHOED_CHARACTERS])
    if chunk_count is not None:
        pieces = tuple(pieces[number % len(pieces)] for number in range(chunk_count))
    finish_reason = "stop"
    if limit is not None and tokens("".join(pieces)) > limit:
        pieces, finish_reason = _words("".join(pieces)[: limit * CHARACTERS_PER_TOKEN]), "length"
    return Reply(reply_id, model, pieces, prompt_tokens, finish_reason, is_chat, int(time.time()))


def _words(text: str) -> tuple[str, ...]:
    """Words with the space that follows them, so that joining them gives the text back."""
    first, *rest = text.split(" ")
    return tuple(word for word in (first, *(f" {word}" for word in rest)) if word)


def _content(content: object) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    raise BadBody("content is a text or a list of parts", "messages")


def _limit(body: Mapping[str, Any], name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadBody(f"{name} is a positive integer", name)
    return value


def _vector(text: str) -> list[float]:
    digest = hashlib.shake_256(text.encode()).digest(EMBEDDING_DIMENSIONS)
    raw = [byte - 127.5 for byte in digest]
    length = math.sqrt(sum(value * value for value in raw))
    return [value / length for value in raw]
