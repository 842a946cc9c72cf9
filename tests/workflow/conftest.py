"""Owners on either server: the one that skips time, and the development server, whose timers are real."""

from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from activities.runtime.plugin import platform_plugin
from tests.servers import TEST_CODEC_KEY, TestDatabase
from tests.workflow.instance_world import InstanceWorld, instance_world
from workers.embedded.temporal import TemporalServer, binary


@pytest.fixture
async def world(database: TestDatabase) -> AsyncIterator[InstanceWorld]:
    """On a server of its own: rows keep real time, and a clock that another test moved on would run far ahead of it."""
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary("temporal-test-server"), plugins=[platform_plugin(TEST_CODEC_KEY)]
    )
    try:
        async with instance_world(database, environment) as made:
            yield made
    finally:
        await environment.shutdown()


@pytest.fixture
async def real_time_world(database: TestDatabase, temporal_dev: TemporalServer) -> AsyncIterator[InstanceWorld]:
    """For tests in which a cancellation may meet the end of an activity: the other server refuses the whole task then."""
    client = await Client.connect(temporal_dev.address, plugins=[platform_plugin(TEST_CODEC_KEY)])
    async with instance_world(database, WorkflowEnvironment.from_client(client)) as made:
        yield made
