"""Whether a node agent that registers may have its credentials, and what its word comes to (contract decisions 9 and 10)."""

import hmac
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from models.base.errors import Conflict, Unauthenticated
from models.domain.fleet.instances.state import Edge


@dataclass(frozen=True)
class TokenState:
    """What is stored about the token that was presented, of whichever kind it is."""

    generation: int
    bootstrap_expires_at: datetime
    consumed_at: datetime | None = None
    nonce_hash: str | None = None
    revoked_at: datetime | None = None


class Admission(StrEnum):
    FIRST = "first"  # the bootstrap token is consumed now, with this nonce
    AGAIN = "again"  # the same agent asks again and gets the same answer


def admit(token: TokenState, *, generation: int, nonce_hash: str, now: datetime) -> Admission:
    """Raises Unauthenticated for a token that is revoked, of an earlier generation, expired, or consumed with another nonce.

    The hour of a bootstrap token limits its first use only: an agent that kept its nonce may lose the answer and ask again.
    """
    if token.revoked_at is not None or token.generation != generation:
        raise Unauthenticated(
            "this token is revoked: the instance was reinstalled or removed since", code="TOKEN_REVOKED"
        )
    if token.consumed_at is None:
        if now >= token.bootstrap_expires_at:
            raise Unauthenticated("this bootstrap token has expired; reinstall the instance", code="TOKEN_EXPIRED")
        return Admission.FIRST
    if not hmac.compare_digest(token.nonce_hash or "", nonce_hash):
        raise Unauthenticated("this token was consumed by another agent", code="TOKEN_CONSUMED")
    return Admission.AGAIN


@dataclass(frozen=True)
class Boot:
    """A start of an agent, which names it where it can."""

    generation: int
    boot_id: str | None


def check_model(announced: str | None, *, given: str | None) -> None:
    """Raises Conflict: an agent may announce the model that its instance was given, and no other."""
    if announced not in (None, given):
        raise model_mismatch()


def model_mismatch() -> Conflict:
    return Conflict("an agent announces no model but the one that its instance was given", code="MODEL_MISMATCH")


def edge_of(announced: Boot, known: Boot | None) -> Edge | None:
    """What the owner hears of it: the first word of this generation, or another start of its machine. None: a repetition."""
    if known is None or known.generation != announced.generation:
        return Edge.REGISTERED
    return None if announced.boot_id in (None, known.boot_id) else Edge.REBOOTED
