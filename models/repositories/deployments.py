"""Placing an order: the offer is chosen and frozen, and the row, its operation and its outbox message are one transaction."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.clock import utc_now
from models.base.errors import MalformedRequest
from models.contracts.outbox import DeliveryKind, OutboxMessage
from models.contracts.workflow_ids import instance_workflow_id
from models.domain.billing.segments import PriceSource
from models.domain.identity.principal import Principal
from models.domain.instances.state import InstanceStatus, OnUnavailable
from models.domain.operations import OperationKind, OperationStatus
from models.domain.placement.offers import ModelNeed, Offer, cheapest_fitting, is_priced, misfit
from models.repositories import events, offers, outbox
from models.repositories.inserting import insert_and_announce
from models.repositories.offers import Market, Wish
from models.tables.activity import ActionComponent, ActionLog, ActionStatus
from models.tables.catalog import LlmModel, Provider
from models.tables.instances import Instance, InstanceStateChange
from models.tables.operations import Operation

EAGER_GRACE = timedelta(seconds=2)
"""Time in which the process that committed a message delivers it itself, before a dispatcher does."""


REASONS_SHOWN = 3
"""Of why no offer fits: the first few tell what to change."""


@dataclass(frozen=True)
class Order:
    wish: Wish
    on_unavailable: OnUnavailable = OnUnavailable.RESTART_AGENT


@dataclass(frozen=True)
class Refusal:
    """Why an order cannot be placed (contract/fleet.md 2.9)."""

    code: str
    message: str


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
    decision = _decide(order.wish, market)
    if isinstance(decision, Refusal):
        provider = market.provider or await offers.default_provider(session)
        return await _refuse(session, principal, provider, market.model, decision)
    return await _accept(session, principal, order, market.model, decision)


def _decide(wish: Wish, market: Market) -> Offer | Refusal:
    """The checks in the order of the contract: the first that fails names the refusal."""
    if not wish.model_name:
        return Refusal("MISSING_MODEL", "name the model to serve in `model_id`; GET /models lists them")
    provider, model = market.provider, market.model
    if provider is not None and not (provider.is_active and provider.has_adapter):
        return Refusal(
            "INVALID_PROVIDER", f"provider {provider.code} is not active; GET /providers lists those that are"
        )
    if wish.zone_code is not None and not market.has_zone:
        return Refusal("INVALID_ZONE", f"there is no active zone {wish.zone_code}; GET /zones lists them")
    if wish.instance_type_code is not None and not market.usable:
        return Refusal(
            "INVALID_INSTANCE_TYPE",
            f"{wish.instance_type_code} cannot be ordered there; GET /instance_types lists types",
        )
    if model is None or not model.is_active:
        return Refusal("INVALID_MODEL", f"there is no active model {wish.model_name}; GET /models lists them")
    return _choose(offers.need_of(model), market.usable, is_type_named=wish.instance_type_code is not None)


def _choose(need: ModelNeed, usable: list[Offer], *, is_type_named: bool) -> Offer | Refusal:
    chosen = cheapest_fitting(need, usable)
    if chosen is not None:
        return chosen
    reasons = [reason for offer in usable if (reason := misfit(need, offer))]
    if reasons and (is_type_named or len(reasons) == len(usable)):
        return Refusal("INCOMPATIBLE_MODEL_INSTANCE", "; ".join(list(dict.fromkeys(reasons))[:REASONS_SHOWN]))
    if any(not is_priced(offer) for offer in usable):
        return Refusal("UNPRICED_INSTANCE_TYPE", "the type has no price, and what has none cannot be billed")
    return Refusal("NO_FITTING_OFFER", "no active offer can serve this model; GET /instance_types lists what is there")


async def _refuse(
    session: AsyncSession, principal: Principal, provider: Provider, model: LlmModel | None, refusal: Refusal
) -> Placed:
    now = utc_now()
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
    log, change = _records(principal, row, None, refusal)
    news = events.of_command(row.organization_id, row.id, log.id)
    await insert_and_announce(session, row.organization_id, [row, log, change], news)
    return Placed(row.id, refusal=refusal)


async def _accept(
    session: AsyncSession, principal: Principal, order: Order, model: LlmModel | None, offer: Offer
) -> Placed:
    now = utc_now()
    row = Instance(
        organization_id=principal.organization_id,
        created_by_user_id=principal.user_id,
        provider_id=offer.provider_id,
        provider_code=offer.provider_code,
        zone_id=offer.zone_id,
        zone_code=offer.zone_code,
        instance_type_id=offer.instance_type_id,
        instance_type_code=offer.instance_type_code,
        model_id=model.id if model else None,
        status=InstanceStatus.PROVISIONING,
        price_eur_per_hour=offer.price_eur_per_hour,
        price_source=PriceSource.NONE if offer.price_eur_per_hour is None else PriceSource.CATALOG,
        billing_increment_s=offer.billing_increment_s,
        billing_minimum_s=offer.billing_minimum_s,
        on_unavailable=order.on_unavailable,
        waiting_on="its owner to begin",
        waiting_since=now,
    )
    operation = Operation(
        organization_id=principal.organization_id,
        kind=OperationKind.INSTANCE_PROVISION,
        status=OperationStatus.PENDING,
        resource_kind="instance",
        resource_id=row.id,
        workflow_id=instance_workflow_id(row.id),
        requested_by_user_id=principal.user_id,
        requested_by_api_key_id=principal.api_key_id,
        waiting_on="its owner to begin",
        waiting_since=now,
        created_at=now,
    )
    message = outbox.new(
        organization_id=principal.organization_id,
        kind=DeliveryKind.START,
        workflow="Instance",
        workflow_id=operation.workflow_id,
        payload={"instance_id": str(row.id), "operation_id": str(operation.id)},
        not_before=now + EAGER_GRACE,
    )
    log, change = _records(principal, row, operation, None)
    news = events.of_command(row.organization_id, row.id, log.id)
    await insert_and_announce(session, row.organization_id, [row, operation, message, log, change], news)
    return Placed(row.id, operation=operation, message=outbox.message_of(message, row.provider_code))


def _records(
    principal: Principal, row: Instance, operation: Operation | None, refusal: Refusal | None
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
        completed_at=utc_now(),
    )
    change = InstanceStateChange(
        organization_id=row.organization_id,
        instance_id=row.id,
        version=row.version,
        to_status=row.status,
        reason=refusal.code if refusal else "ordered",
    )
    return log, change
