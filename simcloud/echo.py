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
class Choice:
    """One answer in the pieces in which it streams."""

    pieces: tuple[str, ...]
    finish_reason: str

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True)
class Reply:
    """The choices of one answer: one or more for each prompt, in order. `prompt_tokens` of all prompts together."""

    id: str
    model: str
    choices: tuple[Choice, ...]
    prompt_tokens: int
    is_chat: bool
    created: int

    @property
    def pieces(self) -> tuple[str, ...]:
        return tuple(piece for choice in self.choices for piece in choice.pieces)

    def usage(self, pieces: int | None = None) -> dict[str, int]:
        """For the whole answer, or for the first `pieces` of it."""
        completion = 0
        left = len(self.pieces) if pieces is None else pieces
        for choice in self.choices:
            completion += tokens("".join(choice.pieces[: max(left, 0)]))
            left -= len(choice.pieces)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
        }

    def body(self) -> dict[str, Any]:
        kind = "chat.completion" if self.is_chat else "text_completion"
        choices = [
            {"index": index, "finish_reason": choice.finish_reason, "logprobs": None}
            | ({"message": {"role": "assistant", "content": choice.text}} if self.is_chat else {"text": choice.text})
            for index, choice in enumerate(self.choices)
        ]
        return self._frame(kind) | {"choices": choices, "usage": self.usage()}

    def chunks(self, *, include_usage: bool) -> Iterator[tuple[int, dict[str, Any]]]:
        """(pieces sent once this chunk is out, chunk): role, one per piece, finish, and usage only where it was asked for."""
        sent = 0
        for index, choice in enumerate(self.choices):
            if self.is_chat:
                yield sent, self._chunk(index, {"role": "assistant", "content": ""}, None, include_usage=include_usage)
            for piece in choice.pieces:
                sent += 1
                yield sent, self._chunk(index, {"content": piece}, None, include_usage=include_usage)
            yield sent, self._chunk(index, {}, choice.finish_reason, include_usage=include_usage)
        if include_usage:
            kind = "chat.completion.chunk" if self.is_chat else "text_completion"
            yield sent, self._frame(kind) | {"choices": [], "usage": self.usage()}

    def _chunk(
        self, index: int, delta: dict[str, str], finish_reason: str | None, *, include_usage: bool
    ) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": index, "logprobs": None, "finish_reason": finish_reason}
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
    if not all(isinstance(message.get("role"), str) for message in messages):
        raise BadBody("every message has a role", "messages")
    if body.get("tools"):
        raise BadBody("this model's chat template has no place for tools", "tools")
    texts = [_content(message.get("content")) for message in messages]
    limit = _limit(body, "max_completion_tokens") or _limit(body, "max_tokens")
    choices = (_choice(texts[-1], chunk_count, limit),) * (_limit(body, "n") or 1)
    prompt_tokens = sum(tokens(text) for text in texts)
    return Reply(f"chatcmpl-{reply_id}", model, choices, prompt_tokens, is_chat=True, created=int(time.time()))


def completion_reply(body: Mapping[str, Any], reply_id: str, model: str, chunk_count: int | None) -> Reply:
    prompts = _prompts(body.get("prompt"))
    limit, per_prompt = _limit(body, "max_tokens"), _limit(body, "n") or 1
    choices = tuple(_choice(heard, chunk_count, limit) for heard, _ in prompts for _ in range(per_prompt))
    prompt_tokens = sum(count for _, count in prompts)
    return Reply(f"cmpl-{reply_id}", model, choices, prompt_tokens, is_chat=False, created=int(time.time()))


def _prompts(given: object) -> list[tuple[str, int]]:
    """Each prompt as it is heard, and its tokens: a text or some tokens, or a list of such."""
    if isinstance(given, str) or _are_tokens(given):
        given = [given]
    if not isinstance(given, list) or not given:
        raise BadBody("prompt is a text, a list of tokens, or a list of such", "prompt")
    prompts = []
    for each in given:
        if isinstance(each, str):
            prompts.append((each, tokens(each)))
        elif _are_tokens(each):
            prompts.append((" ".join(map(str, each)), len(each)))
        else:
            raise BadBody("prompt is a text, a list of tokens, or a list of such", "prompt")
    return prompts


def _are_tokens(given: object) -> bool:
    return isinstance(given, list) and bool(given) and all(type(item) is int and item >= 0 for item in given)


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


def _choice(heard: str, chunk_count: int | None, limit: int | None) -> Choice:
    pieces = _words(PREFIX + heard[:ECHOED_CHARACTERS])
    if chunk_count is not None:
        pieces = tuple(pieces[number % len(pieces)] for number in range(chunk_count))
    if limit is not None and tokens("".join(pieces)) > limit:
        return Choice(_words("".join(pieces)[: limit * CHARACTERS_PER_TOKEN]), "length")
    return Choice(pieces, "stop")


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
        if not all(isinstance(part, dict) and part.get("type") == "text" for part in content):
            raise BadBody("this model takes text only", "messages")
        return "".join(str(part.get("text", "")) for part in content)
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
