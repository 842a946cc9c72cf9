"""The recorder on a real history: it replays as it was, a change is caught, and the evidence cannot be bent unseen."""

import json
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Replayer, Worker
from temporalio.workflow import NondeterminismError

from activities.runtime.plugin import platform_plugin
from tests.workflow.runtime_workflows import Order, RuntimeFailing, RuntimeProbe, misbehave
from workers import record
from workers.embedded.temporal import TemporalServer

KEY = b"k" * 32
NAMES = ["RuntimeProbe/happy.json", "RuntimeFailing/away.json"]


@workflow.defn(name="RuntimeProbe")
class ChangedProbe:
    """The probe with a timer that it did not have when it was recorded."""

    @workflow.run
    async def run(self, order: Order) -> str:
        await workflow.sleep(timedelta(seconds=1))
        return order.kind


@pytest.fixture
async def evidence(temporal_dev: TemporalServer, tmp_path: Path) -> Path:
    client = await Client.connect(temporal_dev.address, plugins=[platform_plugin(KEY)])
    codec, queue = client.data_converter.payload_codec, str(uuid4())
    async with Worker(client, task_queue=queue, workflows=[RuntimeProbe, RuntimeFailing], activities=[misbehave]):
        happy = await client.start_workflow(
            RuntimeProbe.run, Order(kind="echo", text="hello"), id=str(uuid4()), task_queue=queue
        )
        await happy.result()
        failing = await client.start_workflow(
            RuntimeFailing.run, Order(kind="x", text="away"), id=str(uuid4()), task_queue=queue
        )
        await record.record(happy, "happy", codec, tmp_path)
        with pytest.raises(Exception, match="failed"):
            await failing.result()
        await record.record(failing, "away", codec, tmp_path)
        with pytest.raises(record.AlreadyRecorded):
            await record.record(happy, "happy", codec, tmp_path)
    return tmp_path


async def test_it_is_readable_names_no_machine_and_replays(evidence: Path) -> None:
    assert record.verify(evidence) == []
    assert sorted(record.recorded(evidence)) == sorted(NAMES)
    for name in NAMES:
        text = (evidence / name).read_text()
        assert "binary/encrypted" not in text
        assert "@" not in text  # identities are pid@host
    replayer = Replayer(workflows=[RuntimeProbe, RuntimeFailing], plugins=[platform_plugin(None)])
    for _, history in record.histories(evidence):
        assert str(Path(__file__).parent) not in str(history.events)
        await replayer.replay_workflow(history)


async def test_a_command_more_is_a_nondeterminism_error(evidence: Path) -> None:
    replayer = Replayer(workflows=[ChangedProbe, RuntimeFailing], plugins=[platform_plugin(None)])
    [history] = [history for name, history in record.histories(evidence) if name == NAMES[0]]
    with pytest.raises(NondeterminismError):
        await replayer.replay_workflow(history)


def test_every_way_to_bend_the_evidence_is_seen(evidence: Path) -> None:
    kept = {path: path.read_bytes() for path in evidence.rglob("*") if path.is_file()}
    log = evidence / record.LOG
    first = evidence / NAMES[0]

    def restore() -> None:
        for path, content in kept.items():
            path.write_bytes(content)

    first.write_text(first.read_text().replace("RuntimeProbe", "RuntimeProve"))
    assert any("edited" in problem for problem in record.verify(evidence))
    restore()
    first.unlink()
    assert any("removed" in problem for problem in record.verify(evidence))
    restore()
    (evidence / "RuntimeProbe" / "copied.json").write_text("{}")
    assert any("copied.json is not in" in problem for problem in record.verify(evidence))
    (evidence / "RuntimeProbe" / "copied.json").unlink()
    lines = log.read_text().splitlines()
    log.write_text("\n".join(lines[1:]) + "\n")  # the line and the file gone together
    first.unlink()
    assert any("does not follow" in problem for problem in record.verify(evidence))
    restore()
    assert record.verify(evidence) == []


def test_a_withdrawal_says_when_why_and_by_which_patch(evidence: Path) -> None:
    record.withdraw(NAMES[0], "probe-2", "no run older than the retention", evidence)
    assert record.verify(evidence) == []
    assert list(record.recorded(evidence)) == [NAMES[1]]
    last = json.loads((evidence / record.LOG).read_text().splitlines()[-1])
    assert (last["act"], last["patch"]) == ("withdrawn", "probe-2")
    assert last["date"]
    with pytest.raises(KeyError):
        record.withdraw(NAMES[0], "probe-2", "again", evidence)


def test_a_withdrawal_without_a_reason_is_a_problem(evidence: Path) -> None:
    record.withdraw(NAMES[0], "", "", evidence)
    assert any("without patch" in problem for problem in record.verify(evidence))
