"""Placing an order: the offer is chosen and frozen, and the row, its operation and its outbox message are one transaction."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import MalformedRequest
from models.contracts.fleet.owner_kinds import INSTANCE
from models.contracts.outbox import DeliveryKind, OutboxMessage
from models.domain.fleet.billing.segments import PriceSource
from models.domain.fleet.instances.state import InstanceStatus, OnUnavailable
from models.domain.fleet.operations import OperationKind
from models.domain.fleet.placement.decision import NamedModel, NamedProvider, Placement, Refusal, Wish, decide
from models.domain.identity.principal import Principal
from models.repositories import events, operations, outbox
from models.repositories.asking import EAGER_GRACE
from models.repositories.fleet import offers, zone_offers
from models.repositories.inserting import insert_and_announce
from models.repositories.transaction_time import began_at
from models.tables.activity import ActionComponent, ActionLog, ActionStatus
from models.tables.fleet.instances import Instance, InstanceStateChange
from models.tables.operations import Operation


@dataclass(frozen=True)
class Order:
    wish: Wish
    on_unavailable: OnUnavailable | None = None
    """None is left to us: what the provider that is taken can do."""


@dataclass(frozen=True)
class Placed:
    """What was written. `message` is None for a refused order: nobody owns its row."""

    instance_id: UUID
    refusal: Refusal | None = None
    operation: Operation | None = None
    message: OutboxMessage | None = None


async def place(session: AsyncSession, principal: Principal, order: Order) -> Placed:
    """Accept or refuse; a refused order leaves a row in `provisioning_failed` that says why.

    Raises MalformedRequest for a provider that does not exist: then no row is kept.
    """
    market = await offers.look_up(session, order.wish)
    if order.wish.names_provider and market.provider is None:
        raise MalformedRequest("there is no such provider; GET /providers lists them", code="UNKNOWN_PROVIDER")
    decision = decide(order.wish, market, order.on_unavailable)
    if isinstance(decision, Refusal):
        provider = market.provider or await offers.default_provider(session)
        return await _refuse(session, principal, provider, market.model, decision)
    return await _accept(session, principal, order, decision)


async def _refuse(
    session: AsyncSession, principal: Principal, provider: NamedProvider, model: NamedModel | None, refusal: Refusal
) -> Placed:
    now = await began_at(session)
    row = Instance(
        organization_id=principal.organization_id,
        created_by_user_id=principal.user_id,
        provider_id=provider.id,
        provider_code=provider.code,
        model_id=model.id if model else None,
        status=InstanceStatus.PROVISIONING_FAILED,
        failed_at=now,
        error_code=refusal.code,
        error_message=refusal.message,
    )
    log, change = _records(principal, row, None, refusal, now)
    news = events.of_command(row.organization_id, INSTANCE.resource_kind, row.id, log.id)
    await insert_and_announce(session, row.organization_id, [row, log, change], news)
    return Placed(row.id, refusal=refusal)


async def _accept(session: AsyncSession, principal: Principal, order: Order, placement: Placement) -> Placed:
    now, offer = await began_at(session), placement.offer
    row = Instance(
        organization_id=principal.organization_id,
        created_by_user_id=principal.user_id,
        provider_id=offer.provider_id,
        provider_code=offer.provider_code,
        zone_id=offer.zone_id,
        zone_code=offer.zone_code,
        instance_type_id=offer.instance_type_id,
        instance_type_code=offer.instance_type_code,
        model_id=placement.model_id,
        status=InstanceStatus.PROVISIONING,
        price_eur_per_hour=offer.price_eur_per_hour,
        price_source=PriceSource.NONE if offer.price_eur_per_hour is None else PriceSource.CATALOG,
        billing_increment_s=offer.billing_increment_s,
        billing_minimum_s=offer.billing_minimum_s,
        on_unavailable=order.on_unavailable or offer.provider.heals_by,
        zone_offers=zone_offers.frozen(placement.zones),
        waiting_on=operations.FOR_ITS_OWNER,
        waiting_since=now,
    )
    operation = operations.new(INSTANCE, row.id, OperationKind.INSTANCE_PROVISION, principal, now=now)
    message = outbox.new(
        INSTANCE,
        row.id,
        organization_id=principal.organization_id,
        kind=DeliveryKind.START,
        payload={"instance_id": str(row.id), "operation_id": str(operation.id)},
        now=now,
        grace=EAGER_GRACE,
        provider_code=row.provider_code,
    )
    log, change = _records(principal, row, operation, None, now)
    news = events.of_command(row.organization_id, INSTANCE.resource_kind, row.id, log.id)
    await insert_and_announce(session, row.organization_id, [row, operation, message, log, change], news)
    return Placed(row.id, operation=operation, message=outbox.message_of(message))


def _records(
    principal: Principal, row: Instance, operation: Operation | None, refusal: Refusal | None, now: datetime
) -> tuple[ActionLog, InstanceStateChange]:
    """Action log and history of an order."""
    log = ActionLog(
        organization_id=row.organization_id,
        action_type="REQUEST_CREATE",
        component=ActionComponent.API,
        status=ActionStatus.FAILED if refusal else ActionStatus.SUCCESS,
        instance_id=row.id,
        operation_id=operation.id if operation else None,
        user_id=principal.user_id,
        error_code=refusal.code if refusal else None,
        error_message=refusal.message if refusal else None,
        instance_status_after=row.status.value,
        duration_ms=0,
        completed_at=now,
    )
    change = InstanceStateChange(
        organization_id=row.organization_id,
        instance_id=row.id,
        version=row.version,
        to_status=row.status,
        reason=refusal.code if refusal else "ordered",
    )
    return log, change
