"""Placing an order: the offer is chosen and frozen, and the row, its operation and its outbox message are one transaction."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import orjson
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.clock import utc_now
from models.contracts.outbox import DeliveryKind, OutboxMessage
from models.contracts.workflow_ids import instance_workflow_id
from models.domain.billing.segments import PriceSource
from models.domain.identity.principal import Principal
from models.domain.instances.state import InstanceStatus, OnUnavailable
from models.domain.operations import OperationKind, OperationStatus
from models.domain.placement.offers import ModelNeed, Offer, cheapest_fitting, is_priced, misfit
from models.repositories import events, offers, outbox
from models.repositories.offers import Wish
from models.tables.activity import ActionComponent, ActionLog, ActionStatus
from models.tables.catalog import LlmModel, Provider
from models.tables.instances import Instance, InstanceStateChange
from models.tables.operations import Operation

EAGER_GRACE = timedelta(seconds=2)
"""Time in which the process that committed a message delivers it itself, before a dispatcher does."""


@dataclass(frozen=True)
class Order:
    provider: Provider | None
    zone_code: str | None
    instance_type_code: str | None
    model_name: str | None
    on_unavailable: OnUnavailable


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
    """Accept or refuse; a refused order leaves a row in `provisioning_failed` that says why."""
    model = await offers.find_model(session, order.model_name) if order.model_name else None
    decision = await _decide(session, order, model)
    if isinstance(decision, Refusal):
        provider = order.provider or await offers.default_provider(session)
        return await _refuse(session, principal, provider, model, decision)
    return await _accept(session, principal, order, model, decision)


async def _decide(session: AsyncSession, order: Order, model: LlmModel | None) -> Offer | Refusal:
    """The checks in the order of the contract: the first that fails names the refusal."""
    if not order.model_name:
        return Refusal("MISSING_MODEL", "name the model to serve in `model_id`; GET /models lists them")
    if order.provider is not None and not (order.provider.is_active and order.provider.has_adapter):
        return Refusal(
            "INVALID_PROVIDER", f"provider {order.provider.code} is not active; GET /providers lists those that are"
        )
    wish = Wish(order.provider.id if order.provider else None, order.zone_code, order.instance_type_code)
    if wish.zone_code is not None and not await offers.zone_exists(session, wish):
        return Refusal("INVALID_ZONE", f"there is no active zone {wish.zone_code}; GET /zones lists them")
    usable = await offers.usable(session, wish)
    if wish.instance_type_code is not None and not usable:
        return Refusal(
            "INVALID_INSTANCE_TYPE",
            f"{wish.instance_type_code} cannot be ordered there; GET /instance_types lists types",
        )
    if model is None or not model.is_active:
        return Refusal("INVALID_MODEL", f"there is no active model {order.model_name}; GET /models lists them")
    return _choose(offers.need_of(model), usable, is_type_named=wish.instance_type_code is not None)


def _choose(need: ModelNeed, usable: list[Offer], *, is_type_named: bool) -> Offer | Refusal:
    chosen = cheapest_fitting(need, usable)
    if chosen is not None:
        return chosen
    reasons = [reason for offer in usable if (reason := misfit(need, offer))]
    if reasons and (is_type_named or len(reasons) == len(usable)):
        return Refusal("INCOMPATIBLE_MODEL_INSTANCE", reasons[0])
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
    session.add(row)
    await session.flush()
    await _record(session, principal, row, None, refusal)
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
    session.add(row)
    await session.flush()
    message = outbox.add(
        session,
        organization_id=principal.organization_id,
        kind=DeliveryKind.START,
        workflow="Instance",
        workflow_id=operation.workflow_id,
        payload={"instance_id": str(row.id), "operation_id": str(operation.id)},
        not_before=now + EAGER_GRACE,
    )
    session.add(operation)
    await session.flush()
    await _record(session, principal, row, operation, None)
    return Placed(row.id, operation=operation, message=message)


async def _record(
    session: AsyncSession,
    principal: Principal,
    row: Instance,
    operation: Operation | None,
    refusal: Refusal | None,
) -> None:
    """History, action log and events of an order."""
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
    session.add(log)
    session.add(
        InstanceStateChange(
            organization_id=row.organization_id,
            instance_id=row.id,
            version=row.version,
            to_status=row.status,
            reason=refusal.code if refusal else "ordered",
        )
    )
    await session.flush()
    stream = events.organization_stream(row.organization_id)
    ids = {"ids": [str(row.id)]}
    await events.append(session, stream, row.organization_id, "instance.updated", orjson.dumps(ids).decode())
    logged = {"ids": [str(log.id)], "instance_ids": [str(row.id)]}
    await events.append(session, stream, row.organization_id, "action_log.created", orjson.dumps(logged).decode())
