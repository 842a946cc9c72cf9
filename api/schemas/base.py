"""What all request and response bodies share: moments, amounts, and the characters that no text may hold."""

from collections.abc import Iterator
from typing import Any

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from models.base.json_types import Eur, Moment

__all__ = ["STORABLE", "Eur", "Moment", "RequestModel", "ResponseModel", "storable"]


def storable(text: str) -> str:
    """The text, if PostgreSQL can keep it. Raises ValueError for NUL characters and lone surrogates."""
    if "\0" in text:
        raise ValueError("NUL characters are not allowed")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("unpaired surrogates (\\ud800 to \\udfff) are not allowed") from None
    return text


STORABLE = AfterValidator(storable)
"""For a query or path parameter that ends in SQL, after its limits. Request bodies are checked whole by `RequestModel`."""


class RequestModel(BaseModel):
    """A request body. Unknown fields are refused: a misspelt one would silently mean something else."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _only_storable_text(cls, value: Any) -> Any:
        for text in _texts(value):
            storable(text)
        return value


class ResponseModel(BaseModel):
    """A response body: never a table row, so that a column added tomorrow is not published by accident."""

    model_config = ConfigDict(frozen=True)


def _texts(value: object) -> Iterator[str]:
    """Every string in a JSON value, keys included, at any depth (without recursion: the depth is the caller's)."""
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, str):
            yield current
        elif isinstance(current, dict):
            pending += [*current.keys(), *current.values()]
        elif isinstance(current, list):
            pending += current
