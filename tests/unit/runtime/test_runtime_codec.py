"""The codec alone: what is sealed stays sealed and opens at its place only, which key is meant is never guessed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.secret import Aead
from pydantic import BaseModel
from temporalio.api.common.v1 import Payload
from temporalio.bridge.proto.activity_result import ActivityResolution, Cancellation, Success
from temporalio.bridge.proto.activity_result import Failure as Failed
from temporalio.bridge.proto.workflow_activation import FireTimer, ResolveActivity, WorkflowActivationJob
from temporalio.converter import ActivitySerializationContext, NexusSerializationContext, WorkflowSerializationContext
from temporalio.exceptions import ActivityError, ApplicationError

from activities.runtime.codec import (
    ENCODING,
    FORMAT_FIELD,
    KEY_ID_FIELD,
    NAMESPACE_FIELD,
    UNBOUND_TAG,
    VOUCHERS_FIELD,
    WORKFLOW_FIELD,
    EncryptionCodec,
    PayloadCorrupt,
    PayloadKeyUnknown,
    Place,
    is_scheduled_run,
)
from activities.runtime.converter import ACTIVITY_FIELD, PlatformPayloadConverter, said_by
from activities.runtime.failures import PlatformFailureConverter
from activities.runtime.keyring import key_id
from activities.runtime.messages import fail_unsaid
from activities.runtime.refusal import CODE as PAYLOAD_REFUSED
from activities.runtime.refusal import ENCODING as REFUSED
from activities.runtime.refusal import PayloadRefused, refused
from tests.secrets_scan import scan_bytes

KEY, OTHER, THIRD = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
SECRET = "planted-1c55ab90-secret"
HERE = WorkflowSerializationContext(namespace="default", workflow_id="instance/a")


def payload(text: str) -> Payload:
    return Payload(metadata={"encoding": b"json/plain", "note": text.encode()}, data=text.encode())


def codec(
    key: bytes = KEY, previous: Sequence[bytes] = (), workflow_id: str = "instance/a", namespace: str = "default"
):
    context = WorkflowSerializationContext(namespace=namespace, workflow_id=workflow_id)
    return EncryptionCodec(key, previous).with_context(context)


def activity(workflow_id: str | None) -> ActivitySerializationContext:
    return ActivitySerializationContext(
        namespace="default",
        activity_id="1",
        activity_type="create_machine",
        activity_task_queue="cloud-mock",
        workflow_id=workflow_id,
        workflow_type="Instance" if workflow_id else None,
        is_local=False,
    )


def unbound(key: bytes, content: Payload) -> Payload:
    """As format 1 sealed it."""
    name = key_id(key).encode()
    sealed = Aead(key).encrypt(content.SerializeToString(), UNBOUND_TAG + name)
    return Payload(metadata={"encoding": ENCODING, KEY_ID_FIELD: name}, data=bytes(sealed))


def is_refused(got: Sequence[Payload]) -> bool:
    [one] = got
    return one.metadata["encoding"] == REFUSED.encode() and not one.data


class Runs:
    """What a server would say of the run at a place."""

    def __init__(self, start: Sequence[Payload] = (), *, older: frozenset[str] = frozenset()) -> None:
        self.start, self.older = start, older

    async def is_open_since_before_sealing(self, place: Place) -> bool:
        return place.workflow_id in self.older

    async def start_of(self, place: Place) -> Sequence[Payload]:
        return self.start


@given(st.lists(st.tuples(st.dictionaries(st.text(), st.binary()), st.binary()), max_size=5))
async def test_any_payload_comes_back_equal(contents: list[tuple[dict[str, bytes], bytes]]) -> None:
    payloads = [Payload(metadata=metadata, data=data) for metadata, data in contents]
    assert await codec().decode(await codec().encode(payloads)) == payloads


async def test_neither_data_nor_metadata_can_be_read_but_key_and_place() -> None:
    [sealed] = await codec().encode([payload(SECRET)])
    assert scan_bytes(sealed.SerializeToString(), [SECRET]) == []
    assert dict(sealed.metadata) == {
        "encoding": ENCODING,
        FORMAT_FIELD: b"2",
        KEY_ID_FIELD: key_id(KEY).encode(),
        NAMESPACE_FIELD: b"default",
        WORKFLOW_FIELD: b"instance/a",
    }


async def test_the_same_payload_never_looks_the_same_twice() -> None:
    first, second = await codec().encode([payload("x"), payload("x")])
    assert first.data != second.data


@pytest.mark.parametrize("encoding", [b"json/plain", b"binary/plain", b"", REFUSED.encode()])
async def test_what_is_not_sealed_is_refused(encoding: bytes) -> None:
    clear = Payload(metadata={"encoding": encoding}, data=b'{"operation_id": 1}')
    assert is_refused(await codec().decode([clear]))
    assert is_refused(await codec().decode([Payload(data=b"x")]))


async def test_null_needs_no_seal_and_hides_nothing() -> None:
    null = Payload(metadata={"encoding": b"binary/null"})
    assert await codec().decode([null]) == [null]
    assert is_refused(await codec().decode([Payload(metadata={"encoding": b"binary/null"}, data=b"x")]))


async def test_using_a_refused_payload_says_why_and_is_no_reason_to_try_again() -> None:
    [refused] = await codec().decode([payload("in clear")])
    with pytest.raises(PayloadRefused, match="not sealed") as caught:
        PlatformPayloadConverter().from_payloads([refused], [dict])
    assert isinstance(caught.value, ApplicationError)
    assert caught.value.non_retryable


@pytest.mark.parametrize(
    "elsewhere",
    [
        WorkflowSerializationContext(namespace="default", workflow_id="instance/b"),
        WorkflowSerializationContext(namespace="other", workflow_id="instance/a"),
        WorkflowSerializationContext(namespace="default", workflow_id="instance/a/child"),
        WorkflowSerializationContext(namespace="default", workflow_id=""),
        activity("instance/b"),
        activity(None),
        NexusSerializationContext(endpoint="e", service="s", operation="o"),
    ],
)
async def test_it_opens_at_its_place_only(elsewhere) -> None:
    sealed = await codec().encode([payload("x")])
    assert is_refused(await EncryptionCodec(KEY).with_context(elsewhere).decode(sealed))
    assert is_refused(await EncryptionCodec(KEY).decode(sealed))
    assert await EncryptionCodec(KEY).with_context(activity("instance/a")).decode(sealed) == [payload("x")]


@pytest.mark.parametrize("nowhere", [None, activity(None), activity("")])
async def test_what_has_no_place_opens_nowhere_but_for_a_reader(nowhere) -> None:
    base = EncryptionCodec(KEY)
    there = base if nowhere is None else base.with_context(nowhere)
    sealed = await there.encode([payload("x")])
    for each in (there, base, codec(), codec(workflow_id="", namespace="")):
        assert is_refused(await each.decode(sealed))
    assert base.decode_by_claim(sealed) == [payload("x")]


@given(st.data())
async def test_what_is_in_clear_is_under_the_seal(data: st.DataObject) -> None:
    """A payload relabelled for another place would open there; one relabelled for another key would be believed."""
    [sealed] = await codec().encode([payload("x")])
    field = data.draw(st.sampled_from([FORMAT_FIELD, KEY_ID_FIELD, NAMESPACE_FIELD, WORKFLOW_FIELD]))
    sealed.metadata[field] = data.draw(st.binary(max_size=20).filter(lambda value: value != sealed.metadata[field]))
    wanted = Place(*(sealed.metadata[name].decode("utf-8", "replace") for name in (NAMESPACE_FIELD, WORKFLOW_FIELD)))
    reader = codec(workflow_id=wanted.workflow_id, namespace=wanted.namespace)
    reader.ask_of_runs(Runs(await codec().encode([payload("start")])))
    assert is_refused(await reader.decode([sealed]))
    with pytest.raises((PayloadCorrupt, PayloadKeyUnknown)):
        EncryptionCodec(KEY).decode_by_claim([sealed])


async def test_two_places_never_read_the_same() -> None:
    """Fields that ran into one another would make `ab` + `c` the place `a` + `bc`."""
    [sealed] = await codec(namespace="ab", workflow_id="c").encode([payload("x")])
    sealed.metadata[NAMESPACE_FIELD], sealed.metadata[WORKFLOW_FIELD] = b"a", b"bc"
    assert is_refused(await codec(namespace="a", workflow_id="bc").decode([sealed]))


@given(st.data())
async def test_any_altered_byte_is_noticed(data: st.DataObject) -> None:
    [sealed] = await codec().encode([payload("some text")])
    at = data.draw(st.integers(0, len(sealed.data) - 1))
    flipped = bytearray(sealed.data)
    flipped[at] ^= data.draw(st.integers(1, 255))
    sealed.data = bytes(flipped)
    assert is_refused(await codec().decode([sealed]))
    with pytest.raises(PayloadCorrupt):
        codec().decode_by_claim([sealed])


@pytest.mark.parametrize("length", [0, 1, 23, 24, 39])
async def test_a_payload_cut_short_is_refused(length: int) -> None:
    [sealed] = await codec().encode([payload("some text")])
    sealed.data = sealed.data[:length]
    assert is_refused(await codec().decode([sealed]))


@given(st.datetimes(timezones=st.just(UTC)), st.text(min_size=1))
async def test_a_scheduled_run_opens_what_is_sealed_for_its_schedule(at: datetime, schedule: str) -> None:
    run = f"{schedule}-{at.replace(microsecond=0).isoformat().replace('+00:00', 'Z')}"
    assert is_scheduled_run(run, schedule)
    assert not is_scheduled_run(schedule, run)
    assert not is_scheduled_run(run, run)
    sealed = await codec(workflow_id=schedule).encode([payload("x")])
    assert await codec(workflow_id=run).decode(sealed) == [payload("x")]
    assert is_refused(await codec(workflow_id=schedule).decode(await codec(workflow_id=run).encode([payload("x")])))


@given(st.text(max_size=30))
def test_no_other_suffix_makes_a_scheduled_run(suffix: str) -> None:
    assert not is_scheduled_run("sweeper" + suffix, "sweeper")


@pytest.mark.parametrize(
    "suffix",
    [
        "2026-11-26T10:00:00Z",
        "-2026-11-26T10:00:00",
        "-2026-11-26T10:00:00+00:00",
        "-2026-11-26T10:00:00.5Z",
        "-2026-11-26 10:00:00Z",
        "-2026-13-26T10:00:00Z",
        "-2026-11-26T25:00:00Z",
        "-2026-11-26T10:00:00Z\n",
        "-2026-11-26T10:00:00Z-2026-11-26T10:00:00Z",
        "-٢٠٢٦-11-26T10:00:00Z",
        "/x-2026-11-26T10:00:00Z",
    ],
)
def test_only_the_servers_own_form_of_time_makes_one(suffix: str) -> None:
    assert not is_scheduled_run("sweeper" + suffix, "sweeper")


async def test_another_key_is_named_and_the_failure_ends_no_workflow() -> None:
    sealed = await codec(OTHER).encode([payload(SECRET)])
    with pytest.raises(PayloadKeyUnknown, match=key_id(OTHER)) as caught:
        await codec().decode(sealed)
    assert not isinstance(caught.value, ApplicationError)
    assert SECRET not in str(caught.value)


async def test_a_previous_key_opens_and_the_current_one_seals() -> None:
    sealed = await codec(OTHER).encode([payload("x")])
    assert await codec(KEY, [OTHER]).decode(sealed) == [payload("x")]
    [new] = await codec(KEY, [OTHER]).encode([payload("x")])
    assert new.metadata[KEY_ID_FIELD] == key_id(KEY).encode()


async def test_the_run_itself_says_whether_a_key_is_missed() -> None:
    """What it began with opens: nothing of it was ever sealed under an older key. Anybody may have made up the name."""
    made_up = await codec(OTHER).encode([payload("x")])
    for start, missed in (
        (await codec(KEY).encode([payload("s")]), False),
        (made_up, True),
        ([payload("clear")], False),
    ):
        asked = codec(KEY)
        asked.ask_of_runs(Runs(start))
        if missed:
            with pytest.raises(PayloadKeyUnknown):
                await asked.decode(made_up)
        else:
            assert is_refused(await asked.decode(made_up))


async def test_a_newer_key_is_known_by_the_older_ones_word() -> None:
    """While processes get a new key one after the other, those who lack it wait for it, and refuse nothing."""
    start = await codec(OTHER).encode([payload("s")])
    [new] = await codec(KEY, [THIRD, OTHER]).encode([payload("x")])
    late = codec(OTHER)
    late.ask_of_runs(Runs(start))
    with pytest.raises(PayloadKeyUnknown, match=key_id(KEY)):
        await late.decode([new])
    new.metadata[VOUCHERS_FIELD] = bytes(32)
    assert is_refused(await late.decode([new]))


@pytest.mark.parametrize("label", [b"", b"\xff\xfe", b"no such key", b"0123456789ABCDEF", b"0123456789abcde\n"])
async def test_a_label_that_can_name_no_key_is_refused(label: bytes) -> None:
    sealed = await codec().encode([payload("x")])
    sealed[0].metadata[KEY_ID_FIELD] = label
    assert is_refused(await codec().decode(sealed))


async def test_what_is_bound_to_no_place_opens_in_older_runs_only() -> None:
    asked = EncryptionCodec(KEY, [OTHER])
    for key in (KEY, OTHER):
        old = [unbound(key, payload("x"))]
        assert is_refused(await codec(KEY, [OTHER]).decode(old))
        asked.ask_of_runs(Runs(older=frozenset({"instance/a"})))
        assert await asked.with_context(HERE).decode(old) == [payload("x")]
        assert await asked.with_context(activity("instance/a")).decode(old) == [payload("x")]
        for elsewhere in (activity("instance/b"), activity(None)):
            assert is_refused(await asked.with_context(elsewhere).decode(old))
        assert is_refused(await asked.decode(old))
        assert asked.decode_by_claim(old) == [payload("x")]


async def test_a_bound_payload_cannot_pass_for_an_unbound_one() -> None:
    """Without its format it would open wherever an older run is open."""
    asked = EncryptionCodec(KEY)
    asked.ask_of_runs(Runs(older=frozenset({"instance/b"})))
    [sealed] = await codec().encode([payload("x")])
    del sealed.metadata[FORMAT_FIELD]
    assert is_refused(await asked.with_context(activity("instance/b")).decode([sealed]))


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        EncryptionCodec(b"short")


class Order(BaseModel):
    text: str = ""


class Answer(BaseModel):
    text: str = ""


class Narrower(Order):
    """Another model, though a kind of `Order`."""


async def test_an_activity_says_nothing_with_a_null_that_anybody_can_write() -> None:
    null = Payload(metadata={"encoding": b"binary/null"})
    its = EncryptionCodec(KEY).with_context(activity("instance/a"))
    assert is_refused(await its.decode([null]))
    assert await its.decode(await its.encode([null])) == [null]


@pytest.mark.parametrize("hint", [Answer, Answer | None, list[Answer], Narrower])
def test_a_model_is_read_as_no_other(hint: type) -> None:
    converter = PlatformPayloadConverter()
    [written] = converter.to_payloads([Order(text="x")])
    with pytest.raises(PayloadRefused, match="it holds Order, and not"):
        converter.from_payloads([written], [hint])


def test_a_model_is_read_as_itself_and_what_names_none_as_ever() -> None:
    converter = PlatformPayloadConverter()
    [written] = converter.to_payloads([Order(text="x")])
    hints: tuple[Any, ...] = (Order, Order | None)
    for hint in hints:
        assert converter.from_payloads([written], [hint]) == [Order(text="x")]
    assert converter.from_payloads([written]) == [{"text": "x"}]
    [unnamed] = converter.to_payloads([{"text": "x"}])
    assert converter.from_payloads([unnamed], [Answer]) == [Answer(text="x")]


def resolved(**outcome: Any) -> WorkflowActivationJob:
    return WorkflowActivationJob(resolve_activity=ResolveActivity(seq=7, result=ActivityResolution(**outcome)))


def said(by: bytes | None, encoding: bytes = b"json/plain") -> Payload:
    own = {} if by is None else {ACTIVITY_FIELD: by}
    return Payload(metadata={"encoding": encoding, **own})


def is_failed(job: WorkflowActivationJob) -> bool:
    return job.resolve_activity.result.WhichOneof("status") == "failed"


@pytest.mark.parametrize("result", [None, refused("it is not sealed")])
@pytest.mark.parametrize("runs", [None, {"run"}])
def test_an_absent_or_refused_result_is_a_failure_of_the_activity(
    result: Payload | None, runs: set[str] | None
) -> None:
    job = resolved(completed=Success(result=result))
    fail_unsaid(job, runs)
    failure = PlatformFailureConverter().from_failure(
        job.resolve_activity.result.failed.failure, PlatformPayloadConverter()
    )
    assert isinstance(failure, ActivityError)
    assert isinstance(failure.cause, ApplicationError)
    assert (failure.cause.type, failure.cause.non_retryable) == (PAYLOAD_REFUSED, True)


@pytest.mark.parametrize("encoding", [b"json/plain", b"binary/null"])
def test_what_another_activity_said_is_a_failure_of_this_one(encoding: bytes) -> None:
    """Another of the same run, the same of another run, and what no activity said: an argument, a workflow's own result."""
    for by, is_own in (
        (said_by("run", "7"), True),
        (said_by("reset", "7"), True),
        (said_by("run", "8"), False),
        (said_by("other", "7"), False),
        (None, False),
    ):
        job = resolved(completed=Success(result=said(by, encoding)))
        fail_unsaid(job, {"run", "reset"})
        assert is_failed(job) is not is_own, by


@pytest.mark.parametrize("encoding", [b"json/plain", b"binary/null"])
def test_results_of_before_name_no_activity(encoding: bytes) -> None:
    job = resolved(completed=Success(result=said(None, encoding)))
    fail_unsaid(job, None)
    assert not is_failed(job)


@pytest.mark.parametrize(
    "job",
    [resolved(failed=Failed()), resolved(cancelled=Cancellation()), WorkflowActivationJob(fire_timer=FireTimer(seq=1))],
)
def test_every_other_outcome_is_left_alone(job: WorkflowActivationJob) -> None:
    before = job.SerializeToString()
    fail_unsaid(job, {"run"})
    assert job.SerializeToString() == before
