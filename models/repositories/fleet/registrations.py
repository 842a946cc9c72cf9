"""Registration of node agents: a token is consumed once, by whoever holds its row's lock."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import Conflict, NotFound, Unauthenticated
from models.contracts.fleet.owner_kinds import INSTANCE
from models.contracts.outbox import DeliveryKind
from models.domain.fleet.instances.credentials import shown_prefix
from models.domain.fleet.instances.registration import Admission, Boot, TokenState, admit, check_model, edge_of
from models.domain.fleet.instances.state import FINAL, AgentStatus
from models.domain.keys import fingerprint
from models.repositories import outbox
from models.repositories.database import Database
from models.repositories.locking import locked
from models.repositories.transaction_time import began_at
from models.tables.fleet.catalog import LlmModel
from models.tables.fleet.instances import AgentToken, Instance, InstanceLiveness

LOCATE = text("SELECT is_known, organization_id, token_id FROM locate_worker_token(:instance_id, :token_hash)")
RETRY_AFTER_S = 1.0


@dataclass(frozen=True)
class Announcement:
    """What a node agent says when it registers. Never an address: that is the provider's to tell."""

    instance_id: UUID
    nonce: str
    worker_id: str | None = None
    boot_id: str | None = None
    model_id: str | None = None
    agent_version: str | None = None
    report: dict[str, object] | None = None


async def register(
    database: Database,
    announcement: Announcement,
    *,
    presented_token: str,
    agent_token_of: Callable[[int], str],
) -> int:
    """The generation whose credentials the agent may have. A new boot of it is recorded and its owner told, in one commit.

    Raises NotFound (no such instance, or none any more), Unauthenticated, Conflict (`MODEL_MISMATCH`; or another registration
    with this token is under way).
    """
    organization_id, token_id = await _locate(database, announcement.instance_id, fingerprint(presented_token))
    async with database.tenant(organization_id) as session:
        instance = (await session.exec(select(Instance).where(Instance.id == announcement.instance_id))).one()
        if instance.status in FINAL:
            raise _unknown_instance()
        token = (
            await session.exec(locked(select(AgentToken).where(AgentToken.id == token_id), skip_locked=True))
        ).one_or_none()
        if token is None:
            raise Conflict(
                "another registration with this token is under way; try again",
                code="TOKEN_ALREADY_EXISTS_OR_RACE",
                retry_after_s=RETRY_AFTER_S,
            )
        now, nonce_hash = await began_at(session), fingerprint(announcement.nonce)
        admission = admit(_state_of(token), generation=instance.generation, nonce_hash=nonce_hash, now=now)
        await _refuse_other_models(session, instance, announcement.model_id)
        if admission is Admission.FIRST:
            agent_token = agent_token_of(token.generation)
            token.consumed_at, token.nonce_hash = now, nonce_hash
            token.token_hash, token.token_prefix = fingerprint(agent_token), shown_prefix(agent_token)
        token.last_seen_at = now
        await _record_boot(session, instance, announcement, now=now)
        return token.generation


async def _locate(database: Database, instance_id: UUID, token_hash: str) -> tuple[UUID, UUID]:
    async with database.system() as session:
        found = (await session.execute(LOCATE, {"instance_id": instance_id, "token_hash": token_hash})).one()
    if not found.is_known:
        raise _unknown_instance()
    if found.token_id is None:
        raise Unauthenticated("this is no token of this instance")
    return found.organization_id, found.token_id


def _unknown_instance() -> NotFound:
    return NotFound("there is no such instance, or none any more; its agent may stop", code="INSTANCE_NOT_FOUND")


def _state_of(token: AgentToken) -> TokenState:
    return TokenState(
        generation=token.generation,
        bootstrap_expires_at=token.bootstrap_expires_at,
        consumed_at=token.consumed_at,
        nonce_hash=token.nonce_hash,
        revoked_at=token.revoked_at,
    )


async def _refuse_other_models(session: AsyncSession, instance: Instance, announced: str | None) -> None:
    given = (await session.exec(select(LlmModel.model_id).where(col(LlmModel.id) == instance.model_id))).one_or_none()
    check_model(announced, given=given)


async def _record_boot(session: AsyncSession, instance: Instance, announcement: Announcement, *, now: datetime) -> None:
    """The liveness row of a new boot, and the edge for its owner. A repeat of the same boot's registration changes nothing."""
    row = (
        await session.exec(locked(select(InstanceLiveness).where(InstanceLiveness.instance_id == instance.id)))
    ).one_or_none()
    known = None if row is None else Boot(row.generation, row.boot_id)
    edge = edge_of(Boot(instance.generation, announcement.boot_id), known)
    if edge is None:
        return
    if row is None:
        row = InstanceLiveness(instance_id=instance.id, organization_id=instance.organization_id)
        session.add(row)
    row.generation, row.boot_id, row.worker_id = instance.generation, announcement.boot_id, announcement.worker_id
    row.worker_status, row.phase, row.worker_model_id = AgentStatus.STARTING, None, announcement.model_id
    row.queue_depth = row.slots_total = row.slots_busy = row.gpu_utilization = None
    row.agent_version, row.report = announcement.agent_version, announcement.report or {}
    row.registered_at = row.last_heartbeat_at = now
    row.is_stale = False
    session.add(
        outbox.new(
            INSTANCE,
            instance.id,
            organization_id=instance.organization_id,
            kind=DeliveryKind.OBSERVED,
            payload={
                "instance_id": str(instance.id),
                "organization_id": str(instance.organization_id),
                "edge": edge.value,
                "boot_id": announcement.boot_id,
                "generation": instance.generation,
            },
            now=now,
            provider_code=instance.provider_code,
        )
    )
