"""The gate: recorded histories replay against this source, the evidence is intact, a change of commands is accepted by name."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from google.protobuf.message import Message
from pydantic import BaseModel
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import History
from temporalio.client import WorkflowHistory
from temporalio.converter import WorkflowSerializationContext
from temporalio.worker import Replayer

from activities.runtime.codec import WORKFLOW_FIELD, EncryptionCodec
from activities.runtime.converter import ACTIVITY_FIELD, MODEL_FIELD, wire_name
from activities.runtime.plugin import platform_plugin
from tests.replay.recording import KEPT_SEALED, SEALED
from tests.servers import TEST_CODEC_KEY
from workers import fingerprints, record, registry


@pytest.mark.parametrize("root", [record.HISTORIES, SEALED])
def test_the_evidence_is_intact(root: Path) -> None:
    problems = record.verify(root)
    assert not problems, "\n".join(problems)


async def test_every_recorded_history_replays() -> None:
    recorded = {name.partition("/")[0] for name, _ in record.histories()}
    assert recorded == {str(vars(workflow)["__temporal_workflow_definition"].name) for workflow in registry.WORKFLOWS}
    replayer = Replayer(workflows=list(registry.WORKFLOWS), plugins=[platform_plugin(None)])
    for name, history in record.histories():
        outcome = await replayer.replay_workflow(history, raise_on_replay_failure=False)
        if outcome.replay_failure is not None:
            pytest.fail(
                f"{name} no longer replays: {outcome.replay_failure}\n"
                "Guard the change with workflow.patched(...), or, when no such run can exist any more:\n"
                f"    python -m workers.record withdraw {name} --patch ID --reason '...'"
            )


def test_every_model_goes_by_the_name_it_was_recorded_under() -> None:
    """A call that was ordered before an upgrade is carried out after it, and what names no model of ours is refused."""
    recorded = {
        payload.metadata[MODEL_FIELD].decode()
        for root in (record.HISTORIES, SEALED)
        for _, history in record.histories(root)
        for event in history.events
        for payload in payloads_in(event)
        if MODEL_FIELD in payload.metadata
    }
    assert len(recorded) > 20, "the search finds nothing any more"
    assert recorded - {wire_name(model) for model in models_under(BaseModel)} == set()


def models_under(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in model.__subclasses__():
        yield each
        yield from models_under(each)


def sealed_histories() -> list[WorkflowHistory]:
    """Each as that of the workflow that it was sealed for."""
    found = []
    for _, history in record.histories(SEALED):
        [argument] = history.events[0].workflow_execution_started_event_attributes.input.payloads
        found.append(WorkflowHistory(argument.metadata[WORKFLOW_FIELD].decode(), history.events))
    return found


async def replay_failure(history: WorkflowHistory, key: bytes) -> Exception | None:
    replayer = Replayer(workflows=list(registry.WORKFLOWS), plugins=[platform_plugin(key)], namespace="default")
    return (await replayer.replay_workflow(history, raise_on_replay_failure=False)).replay_failure


async def test_what_the_codec_once_sealed_replays_under_its_key() -> None:
    """Histories are read for as long as their owners live: a codec or converter that reads them no more ends every owner."""
    assert len(sealed_histories()) == len(KEPT_SEALED)
    for history in sealed_histories():
        assert await replay_failure(history, TEST_CODEC_KEY) is None, history.workflow_id


async def written_anew(history: WorkflowHistory, edit: Callable[[Payload], None]) -> WorkflowHistory:
    """With every sealed payload changed under its seal."""
    codec = EncryptionCodec(TEST_CODEC_KEY)
    here = codec.with_context(WorkflowSerializationContext("default", history.workflow_id))
    events = History.FromString(History(events=history.events).SerializeToString()).events
    for payload in [each for event in events for each in payloads_in(event) if WORKFLOW_FIELD in each.metadata]:
        [opened] = codec.decode_by_claim([payload])
        edit(opened)
        payload.CopyFrom((await here.encode([opened]))[0])
    return WorkflowHistory(history.workflow_id, events)


def payloads_in(message: Message) -> Iterator[Payload]:
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            many = value.values() if isinstance(value, Mapping) else [value] if isinstance(value, Message) else value
            for each in many:
                if isinstance(each, Message):
                    yield from payloads_in(each)


async def test_runs_from_before_models_and_activities_were_named_replay() -> None:
    def unname(payload: Payload) -> None:
        for field in (MODEL_FIELD, ACTIVITY_FIELD):
            payload.metadata.pop(field, None)

    def unname_results(payload: Payload) -> None:
        payload.metadata.pop(ACTIVITY_FIELD, None)

    for history in sealed_histories():
        assert await replay_failure(await written_anew(history, unname), TEST_CODEC_KEY) is None, history.workflow_id
        mixed = await written_anew(history, unname_results)
        assert await replay_failure(mixed, TEST_CODEC_KEY) is not None, (
            "in a run of today every result names its activity"
        )


async def test_it_replays_under_no_other_key_and_for_no_other_workflow() -> None:
    """Else the test above would prove nothing."""
    for history in sealed_histories():
        assert await replay_failure(history, bytes(32)) is not None
        assert await replay_failure(WorkflowHistory("another", history.events), TEST_CODEC_KEY) is not None


def test_no_workflow_issues_other_commands_than_were_accepted() -> None:
    changed = fingerprints.difference(fingerprints.baseline(), fingerprints.fingerprints())
    assert not changed, changed
