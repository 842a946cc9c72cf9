"""Asking something of the owner of a resource: the operation that answers for it, what the owner hears, what people see of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import ServiceUnavailable
from models.contracts.outbox import DeliveryKind, OutboxMessage
from models.contracts.owner_kinds import OwnerKind, OwnerKinds
from models.domain.identity.principal import Principal
from models.repositories import events, operations, outbox
from models.repositories.inserting import insert_and_announce
from models.repositories.transaction_time import began_at
from models.tables.activity import ActionComponent, ActionLog, ActionStatus
from models.tables.operations import Operation, OutboxRow

EAGER_GRACE = timedelta(seconds=2)
"""Time in which the process that committed a message delivers it itself, before a dispatcher does."""


@dataclass(frozen=True)
class Asked:
    """What was written, and what the owner is to hear once it is committed."""

    operation: Operation
    message: OutboxMessage


def command_to(
    owner: OwnerKind, resource_id: UUID, organization_id: UUID, operation_id: UUID | None, now: datetime
) -> OutboxRow:
    """A hint to the owner that what it reads has changed, to be inserted."""
    return outbox.new(
        owner,
        resource_id,
        organization_id=organization_id,
        kind=DeliveryKind.COMMAND,
        payload={
            owner.id_field: str(resource_id),
            "operation_id": None if operation_id is None else str(operation_id),
        },
        now=now,
        grace=EAGER_GRACE,
    )


def action_of(
    principal: Principal,
    resource_kind: str,
    resource_id: UUID,
    action_type: str,
    *,
    operation_id: UUID | None,
    now: datetime,
    before: str | None = None,
    after: str | None = None,
    details: dict[str, object] | None = None,
) -> ActionLog:
    """What a person did, for the log of actions: done when it is committed. `before`, `after`: the status of the resource."""
    return ActionLog(
        organization_id=principal.organization_id,
        action_type=action_type,
        component=ActionComponent.API,
        status=ActionStatus.SUCCESS,
        resource_kind=resource_kind,
        resource_id=resource_id,
        operation_id=operation_id,
        user_id=principal.user_id,
        instance_status_before=before,
        instance_status_after=after,
        details=details or {},
        duration_ms=0,
        completed_at=now,
    )


def whose(kinds: OwnerKinds, resource_kind: str) -> OwnerKind:
    """Raises ServiceUnavailable where this process does not know the kind of resource: another one may."""
    kind = kinds.of(resource_kind)
    if kind is None:
        raise ServiceUnavailable("this process does not know who asked for it", code="OWNER_UNKNOWN")
    return kind


async def ask(
    session: AsyncSession,
    principal: Principal,
    owner: OwnerKind,
    resource_id: UUID,
    kind: str,
    *,
    action_type: str,
    before: str | None,
    after: str,
    delivery: DeliveryKind = DeliveryKind.COMMAND,
    provider_code: str | None = None,
    with_rows: Sequence[SQLModel] = (),
) -> Asked:
    """An operation of this kind, all in one statement at the end of the transaction: write everything else first.

    `before` and `after` are the status of the resource, for the log of actions; `with_rows` are inserted too.
    """
    now = await began_at(session)
    operation = operations.new(owner, resource_id, kind, principal, now=now)
    message = outbox.new(
        owner,
        resource_id,
        organization_id=principal.organization_id,
        kind=delivery,
        payload={owner.id_field: str(resource_id), "operation_id": str(operation.id)},
        now=now,
        grace=EAGER_GRACE,
        provider_code=provider_code,
    )
    log = action_of(
        principal, owner.resource_kind, resource_id, action_type,
        operation_id=operation.id, now=now, before=before, after=after,
    )  # fmt: skip
    news = events.of_command(principal.organization_id, owner.resource_kind, resource_id, log.id)
    await insert_and_announce(session, principal.organization_id, [*with_rows, operation, message, log], news)
    return Asked(operation, outbox.message_of(message))
