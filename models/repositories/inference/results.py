"""Answers kept under an `Idempotency-Key` for 24 hours, sealed: who may read the database may not read conversations."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from sqlalchemy import delete, or_, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import Conflict, IdempotencyMismatch
from models.base.ids import new_id
from models.domain.keys import Purpose, derive
from models.repositories.transaction_time import began_at
from models.tables.inference import InferenceResult

KEPT_FOR = timedelta(hours=24)
LEASE = timedelta(seconds=30)
"""How long a running call is believed to run after its last word: its process may have died."""
CONCURRENT_RETRY_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Scope:
    """Within which a key is unique."""

    organization_id: UUID
    principal: str
    route: str
    key: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run the call: until it is kept or released, every other call with the key is refused."""

    id: UUID
    token: UUID


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    status: int
    content_type: str
    body: bytes
    instance_id: UUID | None


class AnswerSeal:
    """Encrypts answers, each organization's under a key of its own. `previous_keys` are still read with."""

    def __init__(self, installation_key: bytes, *previous_keys: bytes) -> None:
        self._keys = (installation_key, *previous_keys)

    def seal(self, organization_id: UUID, body: bytes) -> bytes:
        return bytes(self._box(self._keys[0], organization_id).encrypt(body))

    def open(self, organization_id: UUID, sealed: bytes) -> bytes | None:
        """None if it was sealed with none of the keys."""
        for key in self._keys:
            try:
                return self._box(key, organization_id).decrypt(sealed)
            except CryptoError:
                continue
        return None

    @staticmethod
    def _box(key: bytes, organization_id: UUID) -> SecretBox:
        return SecretBox(derive(key, Purpose.CODEC, "inference-results", str(organization_id)))


async def claim(session: AsyncSession, seal: AnswerSeal, scope: Scope, request_hash: str) -> Claim | KeptAnswer:
    """The right to run the call, or the answer that it has already had.

    Raises IdempotencyMismatch for another body under the same key, Conflict (with a time to try again) while it is running.
    A call whose process fell silent is taken over; an answer that has expired is forgotten.
    """
    now, mine = await began_at(session), Claim(new_id(), new_id())
    fresh: dict[str, Any] = {
        "request_hash": request_hash,
        "claim": mine.token,
        "lease_until": now + LEASE,
        "expires_at": now + KEPT_FOR,
        "status_code": None,
        "content_type": None,
        "body": None,
        "instance_id": None,
    }
    row = InferenceResult
    is_abandoned = (
        col(row.status_code).is_(None) & (col(row.lease_until) < now) & (col(row.request_hash) == request_hash)
    )
    statement: Any = (
        insert(row)
        .values(
            id=mine.id,
            organization_id=scope.organization_id,
            principal=scope.principal,
            route=scope.route,
            key=scope.key,
            **fresh,
        )
        .on_conflict_do_update(
            index_elements=["organization_id", "principal", "route", "key"],
            set_=fresh,
            where=or_(col(row.expires_at) < now, is_abandoned),
        )
        .returning(col(row.id))
    )
    claimed = (await session.execute(statement)).scalar_one_or_none()
    return Claim(claimed, mine.token) if claimed is not None else await _known(session, seal, scope, request_hash)


async def renew(session: AsyncSession, claim: Claim) -> None:
    await _change(session, claim, lease_until=await began_at(session) + LEASE)


async def keep(
    session: AsyncSession, seal: AnswerSeal, organization_id: UUID, claim: Claim, answer: KeptAnswer
) -> None:
    """Store the answer, unless somebody has taken the call over in the meantime."""
    await _change(
        session,
        claim,
        status_code=answer.status,
        content_type=answer.content_type,
        body=seal.seal(organization_id, answer.body),
        instance_id=answer.instance_id,
        expires_at=await began_at(session) + KEPT_FOR,
    )


async def release(session: AsyncSession, claim: Claim) -> None:
    """Nothing worth keeping came of it: the next call with the key starts anew."""
    row = InferenceResult
    statement: Any = delete(row).where(col(row.id) == claim.id, col(row.claim) == claim.token)
    await session.execute(statement)


async def _known(session: AsyncSession, seal: AnswerSeal, scope: Scope, request_hash: str) -> KeptAnswer:
    row = InferenceResult
    statement = select(row).where(
        row.organization_id == scope.organization_id,
        row.principal == scope.principal,
        row.route == scope.route,
        row.key == scope.key,
    )
    found = (await session.exec(statement)).one_or_none()
    if found is not None and found.request_hash != request_hash:
        raise IdempotencyMismatch("this Idempotency-Key was used with another body; use a new key for a new request")
    if found is None or found.status_code is None:
        raise Conflict(
            "a request with this Idempotency-Key is being answered; try again to get its answer",
            code="IDEMPOTENCY_IN_PROGRESS",
            retry_after_s=CONCURRENT_RETRY_AFTER_S,
        )
    body = seal.open(scope.organization_id, found.body or b"")
    if body is None:
        raise Conflict("the answer kept under this Idempotency-Key can no longer be read; use a new key")
    return KeptAnswer(found.status_code, found.content_type or "application/json", body, found.instance_id)


async def _change(session: AsyncSession, claim: Claim, **values: object) -> None:
    row = InferenceResult
    statement: Any = update(row).where(col(row.id) == claim.id, col(row.claim) == claim.token).values(**values)
    await session.execute(statement)
