"""What an operator finds in the Temporal UI: owners by provider, and on each owner's page the way to the API."""

import asyncio
from typing import Any

from temporalio.client import WorkflowExecutionDescription

from models.contracts.search_attributes import ORG_ID, PROVIDER, RESOURCE_ID, RESOURCE_KIND, SURFACE
from models.repositories import outbox
from tests.patience import GIVE_UP_S
from tests.workflow.fleet.instances.world import API_URL, InstanceWorld
from tests.workflow.test_sweeper import sweep


async def _seen(description: WorkflowExecutionDescription) -> dict[str, Any]:
    attributes = description.typed_search_attributes
    return {
        "attributes": [attributes.get(key) for key in (RESOURCE_KIND, RESOURCE_ID, SURFACE, PROVIDER, ORG_ID)],
        "memo": await description.memo(),
        "details": await description.static_details(),
    }


async def _wanted(world: InstanceWorld, instance_id: object) -> dict[str, Any]:
    link = f"{API_URL}/instances/{instance_id}"
    return {
        "attributes": ["instance", str(instance_id), "fleet", "mock", str(world.principal.organization_id)],
        "memo": {"api": link},
        "details": f"[The instance in the API]({link})",
    }


async def test_an_owner_is_found_by_its_provider_and_links_to_the_api(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    instance_id = await world.deploy_id()
    query = f"Provider = 'mock' AND OrgId = '{world.principal.organization_id}'"
    async with asyncio.timeout(GIVE_UP_S):
        while not (found := [one.id async for one in world.client.list_workflows(query)]):
            await asyncio.sleep(0.05)
    assert found == [f"instance/{instance_id}"]
    description = await world.handle(instance_id).describe()
    assert await _seen(description) == await _wanted(world, instance_id)
    assert await description.static_summary() == f"instance {instance_id}"


async def test_an_owner_that_comes_back_is_found_as_before_whoever_brought_it_back(
    real_time_world: InstanceWorld,
) -> None:
    """By the sweeper, or by a message out of the outbox, which a function of the database wrote."""
    world = real_time_world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    await world.execute("UPDATE instances SET created_at = now() - interval '1 minute'")
    await world.handle(instance_id).terminate("by mistake")
    assert (await sweep(world)).owners_restarted == 1
    assert await _seen(await world.handle(instance_id).describe()) == await _wanted(world, instance_id)

    await world.execute("UPDATE outbox SET delivered_at = now()")
    await world.execute("UPDATE instance_liveness SET last_heartbeat_at = now() - interval '2 minutes'")
    await world.execute(
        "UPDATE installation SET intake_since = now() - interval '61 s', intake_seen_at = now() - interval '0 s'"
    )
    assert (await sweep(world)).found == {"stale": 1}
    await world.handle(instance_id).terminate("by mistake")
    async with world.database.system() as session:
        [message] = await outbox.claim(session, most=10, lease_s=30.0)
    assert (message.kind, message.provider_code) == ("observed", "mock")
    await world.delivery.deliver(message)
    assert await _seen(await world.handle(instance_id).describe()) == await _wanted(world, instance_id)
