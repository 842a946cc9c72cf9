"""A user's own API keys in the organization of the transaction; for a key, those that descend from it (contract decision 25)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import ColumnElement, and_, func, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import Conflict, NotFound, Unauthenticated
from models.domain.identity.api_keys import CHAIN_LIMIT, ApiKeyText
from models.domain.identity.principal import Principal
from models.repositories.transaction_time import began_at
from models.tables.identity import ApiKey

HOLD_MAKER = text(
    "SELECT api_key_id, scopes, expires_at FROM hold_maker_of_key("
    "CAST(:user_id AS uuid), CAST(:api_key_id AS uuid), CAST(:session_id AS uuid), :now)"
)

SORT_COLUMNS = {
    "name": ApiKey.name,
    "key_prefix": ApiKey.key_prefix,
    "created_at": ApiKey.created_at,
    "last_used_at": ApiKey.last_used_at,
    "revoked_at": ApiKey.revoked_at,
}
DEFAULT_SORT = "created_at"


@dataclass(frozen=True, slots=True)
class Order:
    """An unknown key sorts by creation."""

    sort_by: str = DEFAULT_SORT
    is_descending: bool = True

    def clauses(self) -> tuple[Any, Any]:
        """The column, nulls last, then the id: the same order every time."""
        column, tie = col(SORT_COLUMNS.get(self.sort_by, SORT_COLUMNS[DEFAULT_SORT])), col(ApiKey.id)
        if self.is_descending:
            return column.desc().nulls_last(), tie.desc()
        return column.asc().nulls_last(), tie.asc()


@dataclass(frozen=True, slots=True)
class _Maker:
    """What a new key descends from, and may not be more than. A session makes keys that descend from none."""

    api_key_id: UUID | None
    scopes: list[str]
    expires_at: datetime | None


def _within_reach(principal: Principal) -> ColumnElement[bool]:
    """All keys of the person who is signed in. A key reaches what it made, and what that made, never itself or beside itself."""
    if principal.api_key_id is None:
        return col(ApiKey.user_id) == principal.user_id
    made = select(ApiKey.id).where(ApiKey.parent_id == principal.api_key_id).cte("made", recursive=True)
    child = aliased(ApiKey)
    made = made.union(select(child.id).where(col(child.parent_id) == made.c.id))
    return and_(col(ApiKey.user_id) == principal.user_id, col(ApiKey.id).in_(select(made.c.id)))


async def all_of(session: AsyncSession, principal: Principal) -> Sequence[ApiKey]:
    """Newest first, revoked ones included."""
    statement = select(ApiKey).where(_within_reach(principal)).order_by(*Order().clauses())
    return (await session.exec(statement)).all()


async def search(
    session: AsyncSession, principal: Principal, *, order: Order, offset: int, limit: int
) -> tuple[int, Sequence[ApiKey]]:
    """How many there are, and one window of them."""
    reach = _within_reach(principal)
    total = (await session.exec(select(func.count()).select_from(ApiKey).where(reach))).one()
    statement = select(ApiKey).where(reach).order_by(*order.clauses()).offset(offset).limit(limit)
    return total, (await session.exec(statement)).all()


async def add(session: AsyncSession, principal: Principal, name: str, key: ApiKeyText) -> ApiKey:
    """A key that can do and last no more than the one that makes it, if an API key does.

    Raises Unauthenticated when who makes it is good no more by now, Conflict at the end of a chain of CHAIN_LIMIT keys.
    """
    created_at = await began_at(session)
    maker = await _maker(session, principal, created_at)
    row = ApiKey(
        organization_id=principal.organization_id,
        user_id=principal.user_id,
        parent_id=maker.api_key_id,
        name=name,
        key_prefix=key.shown_prefix,
        key_hash=key.hash,
        scopes=maker.scopes,
        created_at=created_at,
        expires_at=maker.expires_at,
    )
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        match _broken_rule(error):
            case "api_keys_chain":
                raise Conflict(
                    f"of keys that make keys, a chain has at most {CHAIN_LIMIT}: make this one in a session,"
                    " or by a key further up",
                    code="API_KEY_CHAIN_TOO_LONG",
                ) from error
            case "api_keys_of_a_good_parent":  # it ran out at this moment, by the clock of the database
                raise _no_longer_good() from error
        raise
    return row


async def _maker(session: AsyncSession, principal: Principal, now: datetime) -> _Maker:
    """The key or session that calls, as it is: what a replica said of it may be a second old. It stays so until the transaction
    ends, for whoever revokes it waits.
    """
    values = {
        "user_id": principal.user_id,
        "api_key_id": principal.api_key_id,
        "session_id": principal.session_id,
        "now": now,
    }
    row = (await session.execute(HOLD_MAKER, values)).one_or_none()
    if row is None:
        raise _no_longer_good()
    return _Maker(row.api_key_id, row.scopes, row.expires_at)


def _no_longer_good() -> Unauthenticated:
    return Unauthenticated("these credentials are not valid: they have expired or are revoked", code="INVALID_TOKEN")


def _broken_rule(error: IntegrityError) -> str | None:
    return error.orig.diag.constraint_name if isinstance(error.orig, psycopg.Error) else None


async def rename(session: AsyncSession, principal: Principal, key_id: UUID, name: str) -> None:
    """Raises NotFound, also for a key out of the principal's reach."""
    statement = update(ApiKey).where(col(ApiKey.id) == key_id, _within_reach(principal)).values(name=name)
    _require_one((await session.exec(statement)).rowcount)


async def revoke(session: AsyncSession, principal: Principal, key_id: UUID) -> None:
    """With all that it made. Raises NotFound for an unknown key, one out of the principal's reach, and one that is revoked."""
    statement = (
        update(ApiKey)
        .where(col(ApiKey.id) == key_id, _within_reach(principal), col(ApiKey.revoked_at).is_(None))
        .values(revoked_at=func.now())
    )
    _require_one((await session.exec(statement)).rowcount)


def _require_one(changed: int) -> None:
    if changed != 1:
        raise NotFound("you have no such API key, or it is revoked", code="API_KEY_NOT_FOUND")
