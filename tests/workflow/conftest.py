"""Owners on either server: the one that skips time, and the development server, whose timers are real."""

import re
from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from activities.runtime.plugin import platform_plugin
from tests.servers import TEST_CODEC_KEY, TestDatabase
from tests.workflow.fleet.instances.world import InstanceWorld, instance_world
from workers.embedded.temporal import TemporalServer, binary


@pytest.fixture
async def environment() -> AsyncIterator[WorkflowEnvironment]:
    """A server of the test's own, which skips time when it is told to."""
    made = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary("temporal-test-server"), plugins=[platform_plugin(TEST_CODEC_KEY)]
    )
    try:
        yield made
    finally:
        await made.shutdown()


@pytest.fixture
async def world(
    database: TestDatabase, environment: WorkflowEnvironment, request: pytest.FixtureRequest
) -> AsyncIterator[InstanceWorld]:
    """On a server of its own: rows keep real time, and a clock that another test moved on would run far ahead of it."""
    async with instance_world(database, environment) as made:
        yield made
        await _keep_histories(made, request)


@pytest.fixture
async def real_time_world(
    database: TestDatabase, temporal_dev: TemporalServer, request: pytest.FixtureRequest
) -> AsyncIterator[InstanceWorld]:
    """For tests in which a cancellation may meet the end of an activity: the other server refuses the whole task then."""
    client = await Client.connect(temporal_dev.address, plugins=[platform_plugin(TEST_CODEC_KEY)])
    async with instance_world(database, WorkflowEnvironment.from_client(client)) as made:
        yield made
        await _keep_histories(made, request)


async def _keep_histories(world: InstanceWorld, request: pytest.FixtureRequest) -> None:
    """Of a module that asks for it: every owner's, under the name of its test."""
    if getattr(request.module, "KEEPS_HISTORIES", False):
        scenario = re.sub(r"\W+", "-", request.node.name.removeprefix("test_").replace("_", "-")).strip("-")
        for number, instance_id in enumerate(world.deployed):
            await world.keep_history(instance_id, scenario + (f"-{number}" if number else ""))
