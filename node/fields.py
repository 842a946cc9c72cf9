"""The fields of a request one by one: types and bounds as OpenAI's reference has them.

Source: https://platform.openai.com/docs/api-reference/chat/create, /completions/create and /embeddings/create. A field that is
null counts as absent; one that is not listed here goes on as it came.
"""

from collections.abc import Callable, Mapping
from typing import Any

from node.bad_request import BadRequest, unsupported
from node.capabilities import Capabilities
from node.messages import check_messages
from node.tools import check_tools
from node.usage import Json

MOST_TOKENS = 2**31 - 1
Check = Callable[[Any, str], None]


def check_chat(body: Json, capabilities: Capabilities) -> None:
    """Raises BadRequest."""
    _check(body, CHAT)
    check_messages(body.get("messages"), capabilities)
    check_tools(body, capabilities)
    if body.get("grammar") is not None and (body.get("json_schema") is not None or _wants_schema(body)):
        raise BadRequest("a grammar and a schema exclude each other", "grammar")


def check_completion(body: Json) -> None:
    """Raises BadRequest. The prompt itself is checked by llama.cpp, which says well what is wrong with one."""
    _check(body, COMPLETION)


def check_embedding(body: Json) -> None:
    """Raises BadRequest."""
    _check(body, EMBEDDING)
    given = body.get("input")
    if given is None or given in ("", []):
        raise BadRequest("`input` has to be a text, tokens, or a list of such", "input")


def _check(body: Json, fields: Mapping[str, Check]) -> None:
    for name, check in fields.items():
        if body.get(name) is not None:
            check(body[name], name)


def _wants_schema(body: Json) -> bool:
    return (body.get("response_format") or {}).get("type") in ("json_schema", "json_object")


def _number(lowest: float, highest: float) -> Check:
    def check(value: Any, name: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
            raise BadRequest(f"`{name}` has to be a number from {lowest:g} to {highest:g}", name)

    return check


def _whole(lowest: int, highest: int) -> Check:
    def check(value: Any, name: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise BadRequest(f"`{name}` has to be a whole number from {lowest} to {highest}", name)

    return check


def _any_of(kind: type, words: str) -> Check:
    def check(value: Any, name: str) -> None:
        if not isinstance(value, kind):
            raise BadRequest(f"`{name}` has to be {words}", name)

    return check


def _seed(value: Any, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"`{name}` has to be a whole number", name)


def _stop(value: Any, name: str) -> None:
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise BadRequest(f"`{name}` has to be a text or a list of texts", name)


def _logit_bias(value: Any, name: str) -> None:
    if not isinstance(value, dict) or not all(token.isdecimal() for token in value):
        raise BadRequest(f"`{name}` has to be an object whose names are tokens", name)
    for token, bias in value.items():
        _number(-100, 100)(bias, f"{name}.{token}")


def _stream_options(value: Any, name: str) -> None:
    _any_of(dict, "an object")(value, name)
    _check_inside(value, name, {"include_usage": _any_of(bool, "true or false")})


def _response_format(value: Any, name: str) -> None:
    if not isinstance(value, dict) or value.get("type") not in ("text", "json_object", "json_schema"):
        raise BadRequest(f"`{name}.type` has to be text, json_object or json_schema", f"{name}.type")
    if value["type"] != "json_schema":
        return
    schema = value.get("json_schema")
    if not isinstance(schema, dict) or not isinstance(schema.get("schema"), dict):
        raise BadRequest(f"`{name}.json_schema.schema` has to be an object", f"{name}.json_schema.schema")


def _encoding(value: Any, name: str) -> None:
    if value not in ("float", "base64"):
        raise BadRequest(f"`{name}` has to be float or base64", name)


def _modalities(value: Any, name: str) -> None:
    if value != ["text"]:
        raise unsupported("this model answers in text only", name)


def _refused(words: str) -> Check:
    def check(value: Any, name: str) -> None:
        if value not in ("", [], {}):
            raise unsupported(words, name)

    return check


def _check_inside(value: Json, name: str, fields: Mapping[str, Check]) -> None:
    for inner, check in fields.items():
        if value.get(inner) is not None:
            check(value[inner], f"{name}.{inner}")


_COMMON: dict[str, Check] = {
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "n": _whole(1, 128),
    "seed": _seed,
    "stop": _stop,
    "stream": _any_of(bool, "true or false"),
    "stream_options": _stream_options,
    "logit_bias": _logit_bias,
    "response_format": _response_format,
    "grammar": _any_of(str, "a text"),
    "json_schema": _any_of(dict, "an object"),
}
CHAT: dict[str, Check] = {
    **_COMMON,
    "max_tokens": _whole(1, MOST_TOKENS),
    "max_completion_tokens": _whole(1, MOST_TOKENS),
    "logprobs": _any_of(bool, "true or false"),
    "top_logprobs": _whole(0, 20),
    "parallel_tool_calls": _any_of(bool, "true or false"),
    "modalities": _modalities,
    "functions": _refused("`functions` is not supported; use `tools`"),
}
COMPLETION: dict[str, Check] = {
    **_COMMON,
    "max_tokens": _whole(0, MOST_TOKENS),
    "logprobs": _whole(0, 5),
    "suffix": _refused("this model's server cannot insert text before a suffix"),
}
EMBEDDING: dict[str, Check] = {
    "encoding_format": _encoding,
    "dimensions": _refused("this model's embeddings cannot be shortened"),
}
