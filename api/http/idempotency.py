"""`Idempotency-Key`: the first answer to a keyed request is the answer to its repetitions, for 24 hours (DESIGN 3).

A command claims its key in its own transaction, and keeps its answer there: either both are committed or neither. While one
request works on a key, another one with it is told to come back (409 with `Retry-After`) rather than made to wait.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated

import orjson
from fastapi import Header
from pydantic import BaseModel
from sqlalchemy import ColumnElement, and_, text
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import JSONResponse

from models.base.errors import Conflict, IdempotencyMismatch
from models.domain.identity.principal import Principal
from models.repositories.transaction_time import began_at
from models.tables.operations import IdempotencyKey

LIFETIME = timedelta(hours=24)
REPLAYED_HEADER = "idempotent-replayed"
TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:scope, 0))")

IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Repeating a request with the same key within 24 hours gives the first answer again.",
    ),
]


@dataclass(frozen=True, slots=True)
class Replay:
    """The answer that was given before."""

    status: int
    body: dict[str, object]
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> JSONResponse:
        return JSONResponse(self.body, self.status, {**self.headers, REPLAYED_HEADER: "true"})


@dataclass(frozen=True, slots=True)
class Claimed:
    """The key is this transaction's, until it ends. `key` is None for a request without one: nothing will be kept."""

    principal: Principal
    route: str
    key: str | None
    request_hash: str


def request_hash(*parts: object) -> str:
    """A hash of what makes two requests the same: the parsed body, and whatever of the path decides. Hex."""
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    return hashlib.sha256(orjson.dumps(plain, default=str, option=orjson.OPT_SORT_KEYS)).hexdigest()


async def claim(
    session: AsyncSession, principal: Principal, route: str, key: str | None, request_hash: str
) -> Replay | Claimed:
    """The former answer, or the right to give the first one, until this transaction ends.

    Raises Conflict while another request with the key is under way, IdempotencyMismatch if the key came with other content.
    """
    claimed = Claimed(principal, route, key, request_hash)
    if key is None:
        return claimed
    scope = f"idempotency/{principal.organization_id}/{principal.name}/{route}/{key}"
    if not (await session.execute(TRY_LOCK, {"scope": scope})).scalar_one():
        raise Conflict(
            "a request with this Idempotency-Key is under way; try again shortly",
            code="IDEMPOTENCY_IN_PROGRESS",
            retry_after_s=1,
        )
    row = (await session.exec(select(IdempotencyKey).where(_is(claimed)))).one_or_none()
    if row is None:
        return claimed
    if row.expires_at <= await began_at(session):
        await session.exec(delete(IdempotencyKey).where(_is(claimed)))
        return claimed
    if row.request_hash != request_hash:
        raise IdempotencyMismatch("this Idempotency-Key was used with another request; send a new key")
    return Replay(row.status_code, row.body, {name: str(value) for name, value in row.headers.items()})


async def keep(
    session: AsyncSession,
    claimed: Claimed,
    status: int,
    body: Mapping[str, object],
    headers: Mapping[str, str] | None = None,
) -> None:
    """Remember this answer, which must hold no secret: it is stored as it is."""
    if claimed.key is None:
        return
    now = await began_at(session)
    session.add(
        IdempotencyKey(
            organization_id=claimed.principal.organization_id,
            principal=claimed.principal.name,
            route=claimed.route,
            key=claimed.key,
            request_hash=claimed.request_hash,
            status_code=status,
            headers=dict(headers or {}),
            body=dict(body),
            created_at=now,
            expires_at=now + LIFETIME,
        )
    )
    await session.flush()


def _is(claimed: Claimed) -> ColumnElement[bool]:
    return and_(
        col(IdempotencyKey.organization_id) == claimed.principal.organization_id,
        col(IdempotencyKey.principal) == claimed.principal.name,
        col(IdempotencyKey.route) == claimed.route,
        col(IdempotencyKey.key) == claimed.key,
    )
