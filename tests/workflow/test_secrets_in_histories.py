"""The scan of histories finds what is there, in every place where Temporal keeps text, and nothing behind the codec."""

import asyncio
import json
from base64 import b64decode, b64encode
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.converter import WorkflowSerializationContext
from temporalio.worker import Worker

from activities.runtime.codec import EncryptionCodec
from activities.runtime.plugin import platform_data_converter, platform_plugin
from activities.runtime.remote_codec import decode
from models.base.errors import MalformedRequest
from tests.patience import GIVE_UP_S
from tests.secrets_scan import scan_histories
from tests.workflow.runtime_workflows import Order, misbehave
from workers.embedded.temporal import TemporalServer

KEY = b"k" * 32
PLACES = ("argument-1f6a", "memo-88c2be1", "summary-7d01", "details-90ab", "step-summary-4b", "result-55cd0")


@workflow.defn(name="Talkative")
class Talkative:
    """Puts a text of the caller's into every place that a workflow has for one."""

    @workflow.run
    async def run(self, order: Order) -> str:
        await workflow.execute_activity(
            misbehave, Order(kind="echo"), start_to_close_timeout=timedelta(seconds=5), summary=PLACES[4]
        )
        return PLACES[5]


async def run_one(server: TemporalServer, key: bytes | None) -> str:
    client = await Client.connect(server.address, plugins=[platform_plugin(key)])
    queue = str(uuid4())
    async with Worker(client, task_queue=queue, workflows=[Talkative], activities=[misbehave]):
        await client.execute_workflow(
            Talkative.run,
            Order(kind="echo", text=PLACES[0]),
            id=queue,
            task_queue=queue,
            memo={"note": PLACES[1]},
            static_summary=PLACES[2],
            static_details=PLACES[3],
        )
    return queue


async def scan(server: TemporalServer, workflow_id: str) -> list[str]:
    """Waits until the run is listed: visibility lags."""
    plain = await Client.connect(server.address)
    async with asyncio.timeout(GIVE_UP_S):
        while True:
            count, finds = await scan_histories(plain, PLACES, f"WorkflowId = '{workflow_id}'")
            if count:
                return finds
            await asyncio.sleep(0.05)


async def test_in_clear_every_place_is_found(temporal_dev: TemporalServer) -> None:
    finds = await scan(temporal_dev, await run_one(temporal_dev, None))
    assert {find.split(": secret ")[1][0] for find in finds} == {str(number) for number in range(len(PLACES))}


async def test_behind_the_codec_nothing_is(temporal_dev: TemporalServer) -> None:
    assert await scan(temporal_dev, await run_one(temporal_dev, KEY)) == []


async def test_a_client_that_decrypts_is_refused(temporal_dev: TemporalServer) -> None:
    client = await Client.connect(temporal_dev.address, plugins=[platform_plugin(KEY)])
    with pytest.raises(ValueError, match="without a codec"):
        await scan_histories(client, PLACES)


async def test_the_web_ui_reads_summaries_through_the_remote_codec() -> None:
    codec = EncryptionCodec(KEY)
    here = codec.with_context(WorkflowSerializationContext(namespace="default", workflow_id="instance/1"))
    [sealed] = await here.encode(platform_data_converter(None).payload_converter.to_payloads(["create the machine"]))
    body = {
        "payloads": [
            {
                "metadata": {name: b64encode(value).decode() for name, value in sealed.metadata.items()},
                "data": b64encode(sealed.data).decode(),
            }
        ]
    }
    [opened] = json.loads(decode(json.dumps(body).encode(), codec))["payloads"]
    assert b64decode(opened["data"]) == b'"create the machine"'
    for bad in (b"", b"{", b"\xff", b'{"payloads": 3}', b'{"payloads": [3]}'):
        with pytest.raises(MalformedRequest):
            decode(bad, codec)
