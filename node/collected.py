"""One whole answer put together from a stream.

llama.cpp goes on generating for a client that left unless it is streaming to it (ggml-org/llama.cpp issue 24496). So the
agent always asks for a stream, which ends with its connection, and collects it for clients that want one body.
"""

import json
from collections.abc import AsyncIterable, AsyncIterator

from node.usage import Json, UsageSum


class StreamError(Exception):
    """The model server reported an error after its answer had begun; `body` is what it sent."""

    def __init__(self, body: bytes) -> None:
        super().__init__("the model server failed while it answered")
        self.body = body


async def events(lines: AsyncIterable[bytes]) -> AsyncIterator[Json]:
    """The JSON of each `data:` line up to `[DONE]`, nulls left out. Raises StreamError for an error event."""
    try:
        async for line in lines:
            data = line.removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
            if line.startswith(b"error:"):
                raise StreamError(b'{"error":' + line.removeprefix(b"error:").strip() + b"}")
            if not data:
                continue
            if data == b"[DONE]":
                return
            event: Json | None = json.loads(data)
            if event is None:  # stands before the answer to each further prompt
                continue
            if "error" in event:
                raise StreamError(data)
            yield event
    except ValueError as error:  # no JSON, or a line longer than the reader's buffer
        raise StreamError(b"") from error
    raise StreamError(b"")


class CollectedAnswer:
    """`chat` decides the shape: messages with deltas, or plain text. `usage` collects what the choices report."""

    def __init__(self, usage: UsageSum, *, chat: bool) -> None:
        self._usage = usage
        self._chat = chat
        self._head: Json = {}
        self._choices: dict[int, Json] = {}

    def add(self, event: Json) -> None:
        pieces = event.pop("choices", [])
        for piece in pieces:
            choice = self._choices.setdefault(piece["index"], self._empty(piece["index"]))
            if self._chat:
                _merge_message(choice["message"], piece.get("delta") or {})
            else:
                choice["text"] += piece.get("text") or ""
            if piece.get("logprobs") is not None:
                choice["logprobs"] = _merge_logprobs(choice["logprobs"], piece["logprobs"])
            choice["finish_reason"] = piece.get("finish_reason") or choice["finish_reason"]
        usage = event.pop("usage", None)
        if usage is not None:
            self._usage.add(usage, pieces[0]["index"] if pieces else 0)
        self._head |= event

    def body(self) -> Json:
        kind = "chat.completion" if self._chat else "text_completion"
        choices = [self._choices[index] for index in sorted(self._choices)]
        for choice in choices:
            message = choice.get("message")
            if message is not None and message["content"] is None and "tool_calls" not in message:
                message["content"] = ""
        usage = self._usage.total()
        return self._head | {"object": kind, "choices": choices} | ({} if usage is None else {"usage": usage})

    def _empty(self, index: int) -> Json:
        content: Json = {"message": {"role": "assistant", "content": None}} if self._chat else {"text": ""}
        return {"index": index, **content, "logprobs": None, "finish_reason": None}


def _merge_message(message: Json, delta: Json) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            for part in value:
                _merge_tool_call(message.setdefault("tool_calls", []), part)
        elif name != "role" and isinstance(value, str):
            message[name] = (message.get(name) or "") + value


def _merge_tool_call(calls: list[Json], part: Json) -> None:
    position = part.get("index", len(calls))
    while len(calls) <= position:
        calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
    call, function = calls[position], part.get("function") or {}
    call["id"] = part.get("id") or call["id"]
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""


def _merge_logprobs(old: Json | None, new: Json) -> Json:
    """Lists (`content` of a chat, `tokens` and the like of a text) continue each other."""
    if old is None:
        return new
    return {
        name: [*old.get(name, []), *value] if isinstance(value, list) and isinstance(old.get(name, []), list) else value
        for name, value in new.items()
    }
