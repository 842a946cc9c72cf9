"""API keys (contract/fleet.md 2.7)."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, StringConstraints

from api.schemas.base import Moment, RequestModel, ResponseModel
from models.tables.identity import ApiKey

KeyName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class ApiKeyWrite(RequestModel):
    name: KeyName


class ApiKeyRead(ResponseModel):
    """A key as its owner sees it afterwards: `key_prefix` is the first 12 characters."""

    id: UUID
    name: str
    key_prefix: str
    created_at: Moment
    last_used_at: Moment | None
    expires_at: Moment | None
    revoked_at: Moment | None

    @classmethod
    def of(cls, row: ApiKey) -> Self:
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class ApiKeyCreated(ResponseModel):
    """`api_key` is the plaintext, shown here and never again. In the replay of an idempotent request it is null."""

    key: ApiKeyRead
    api_key: Annotated[str | None, Field(repr=False)]
    message: str
