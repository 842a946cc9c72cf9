"""Delivery while the workflow engine is away: an expected failure, whichever way the SDK says so."""

from uuid import uuid4

import pytest
from temporalio.client import Client

from activities.runtime.plugin import platform_plugin
from delivery.outbox import OutboxDelivery
from models.base.errors import ServiceUnavailable
from models.contracts.fleet.owner_kinds import INSTANCE, OWNER_KINDS
from models.contracts.outbox import DeliveryKind, OutboxMessage
from models.contracts.owner_kinds import OwnerKinds
from workers.embedded.ports import free_port


async def test_an_engine_that_was_never_reached_is_unavailable() -> None:
    delivery = OutboxDelivery(
        await Client.connect(f"127.0.0.1:{free_port()}", lazy=True, plugins=[platform_plugin(None)]),
        OwnerKinds(OWNER_KINDS),
        api_url="http://api.invalid",
    )
    instance_id, organization_id = uuid4(), uuid4()
    message = OutboxMessage(
        id=uuid4(),
        organization_id=organization_id,
        kind=DeliveryKind.START,
        workflow="Instance",
        workflow_id=f"instance/{instance_id}",
        payload={"instance_id": str(instance_id)},
    )
    for _ in range(2):
        with pytest.raises(ServiceUnavailable) as refused:
            await delivery.deliver(message)
        assert refused.value.code == "TEMPORAL_UNAVAILABLE"
        assert refused.value.retryable
    with pytest.raises(ServiceUnavailable):
        await delivery.restart_owner(INSTANCE, instance_id, organization_id, provider_code="mock")
