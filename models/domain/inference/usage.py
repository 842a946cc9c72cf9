"""Tokens: as a model server reports them, and as they are estimated where it could not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CHARACTERS_PER_TOKEN = 4
"""Rule of thumb for English text. Source: https://platform.openai.com/tokenizer, "~4 characters of text"."""

MOST_TOKENS = 2**31 - 1
"""The columns of the records are 32-bit integers; a server that reports more is not believed."""


@dataclass(frozen=True, slots=True)
class Usage:
    input_tokens: int
    output_tokens: int

    def as_openai(self) -> dict[str, int]:
        """The object `usage` of an answer."""
        total = self.input_tokens + self.output_tokens
        return {"prompt_tokens": self.input_tokens, "completion_tokens": self.output_tokens, "total_tokens": total}


def reported_usage(value: object) -> Usage | None:
    """The `usage` object of an OpenAI-shaped answer; None for anything that is not one. Embeddings have no output tokens."""
    if not isinstance(value, dict) or ("prompt_tokens" not in value and "completion_tokens" not in value):
        return None
    given, made = _tokens(value.get("prompt_tokens")), _tokens(value.get("completion_tokens"))
    return None if given is None or made is None else Usage(given, made)


def estimated_tokens(characters: int) -> int:
    """At least one token for any text at all."""
    return -(-characters // CHARACTERS_PER_TOKEN)


def input_tokens(document: Mapping[str, Any]) -> int:
    """Estimate of the tokens that a request asks a model to read: messages, prompt, input, tools and calls of them.

    Numbers of a prompt or an input are tokens, and counted as such; images count nothing here.
    """
    characters = tokens = 0
    for name in ("prompt", "input"):
        if (texts := document.get(name)) is not None:
            characters += _characters(texts)
            tokens += _token_ids(texts)
    if isinstance(messages := document.get("messages"), list):
        characters += _characters(messages)
        called = [said["tool_calls"] for said in messages if isinstance(said, dict) and "tool_calls" in said]
        characters += _all_characters(called) if called else 0
    if tools := document.get("tools"):
        characters += _all_characters(tools)
    return tokens + estimated_tokens(characters)


def _all_characters(value: object) -> int:
    """Of a template's JSON: names and texts."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum([_all_characters(item) for item in value])
    if isinstance(value, dict):
        return sum([len(name) + _all_characters(item) for name, item in value.items()])
    return 0


def _token_ids(value: object) -> int:
    """Numbers in a list, or in lists in a list: https://platform.openai.com/docs/api-reference/completions/create, `prompt`."""
    if not isinstance(value, list):
        return 0
    return sum([len(item) if isinstance(item, list) else isinstance(item, int) for item in value])


def _characters(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum([_characters(item) for item in value])
    if isinstance(value, dict):
        return sum([_characters(value[name]) for name in ("content", "text") if name in value])
    return 0


def answer_characters(choices: list[Any]) -> int:
    """Characters of an answer, or of what one chunk adds to it: content, reasoning, refusals and arguments of tool calls."""
    return sum(_choice_characters(choice) for choice in choices if isinstance(choice, dict))


def _choice_characters(choice: dict[str, Any]) -> int:
    text, message = choice.get("text"), choice.get("delta") or choice.get("message")
    count = len(text) if isinstance(text, str) else 0
    if not isinstance(message, dict):
        return count
    for name, value in message.items():
        if isinstance(value, str):
            count += len(value) if name != "role" else 0
        elif name == "tool_calls" and isinstance(value, list):
            count += sum(_call_characters(call) for call in value if isinstance(call, dict))
    return count


def _call_characters(call: dict[str, Any]) -> int:
    function = call.get("function")
    if not isinstance(function, dict):
        return 0
    return sum(len(value) for value in function.values() if isinstance(value, str))


def _tokens(value: object) -> int | None:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_TOKENS:
        return None
    return value
