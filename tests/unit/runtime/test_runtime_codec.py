"""The codec alone: what is sealed stays sealed, what is altered is refused, which key is meant is never guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ApplicationError

from activities.runtime.codec import ENCODING, KEY_ID_FIELD, EncryptionCodec, PayloadCorrupt, PayloadKeyUnknown, key_id
from tests.secrets_scan import scan_bytes

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
SECRET = "planted-1c55ab90-secret"


def payload(text: str) -> Payload:
    return Payload(metadata={"encoding": b"json/plain", "note": text.encode()}, data=text.encode())


@given(st.lists(st.tuples(st.dictionaries(st.text(), st.binary()), st.binary()), max_size=5))
async def test_any_payload_comes_back_equal(contents: list[tuple[dict[str, bytes], bytes]]) -> None:
    payloads = [Payload(metadata=metadata, data=data) for metadata, data in contents]
    codec = EncryptionCodec(KEY)
    assert await codec.decode(await codec.encode(payloads)) == payloads


async def test_neither_data_nor_metadata_can_be_read() -> None:
    [sealed] = await EncryptionCodec(KEY).encode([payload(SECRET)])
    assert scan_bytes(sealed.SerializeToString(), [SECRET]) == []
    assert dict(sealed.metadata) == {"encoding": ENCODING, KEY_ID_FIELD: key_id(KEY).encode()}


async def test_the_same_payload_never_looks_the_same_twice() -> None:
    codec = EncryptionCodec(KEY)
    first, second = await codec.encode([payload("x"), payload("x")])
    assert first.data != second.data


async def test_payloads_in_clear_pass() -> None:
    assert await EncryptionCodec(KEY).decode([payload("from the UI")]) == [payload("from the UI")]


async def test_an_unknown_key_is_refused_by_name_without_the_content() -> None:
    sealed = await EncryptionCodec(OTHER).encode([payload(SECRET)])
    with pytest.raises(PayloadKeyUnknown, match=f"{key_id(OTHER)}.*{key_id(KEY)}.*KEY_PREVIOUS") as caught:
        await EncryptionCodec(KEY).decode(sealed)
    assert SECRET not in str(caught.value)
    assert not caught.value.retryable
    assert not isinstance(caught.value, ApplicationError)  # a non-retryable one would end the workflow that reads it


async def test_keys_rotate() -> None:
    sealed = await EncryptionCodec(OTHER).encode([payload("x")])
    assert await EncryptionCodec(KEY, [OTHER]).decode(sealed) == [payload("x")]
    [new] = await EncryptionCodec(KEY, [OTHER]).encode([payload("x")])
    assert new.metadata[KEY_ID_FIELD] == key_id(KEY).encode()


@given(st.data())
async def test_any_altered_byte_is_noticed(data: st.DataObject) -> None:
    codec = EncryptionCodec(KEY)
    [sealed] = await codec.encode([payload("some text")])
    at = data.draw(st.integers(0, len(sealed.data) - 1))
    flipped = bytearray(sealed.data)
    flipped[at] ^= data.draw(st.integers(1, 255))
    sealed.data = bytes(flipped)
    with pytest.raises(PayloadCorrupt):
        await codec.decode([sealed])


@pytest.mark.parametrize("length", [0, 1, 23, 24, 39])
async def test_a_payload_cut_short_is_refused(length: int) -> None:
    codec = EncryptionCodec(KEY)
    [sealed] = await codec.encode([payload("some text")])
    sealed.data = sealed.data[:length]
    with pytest.raises(PayloadCorrupt):
        await codec.decode([sealed])


async def test_the_key_id_is_under_the_seal() -> None:
    """Else a payload could be relabelled, and which key it was made under could not be trusted."""
    sealed = await EncryptionCodec(KEY).encode([payload("x")])
    sealed[0].metadata[KEY_ID_FIELD] = key_id(KEY).encode() + b"x"
    with pytest.raises(PayloadCorrupt):
        await EncryptionCodec(KEY).decode(sealed)


@pytest.mark.parametrize("label", [b"", b"\xff\xfe", b"no such key"])
async def test_a_label_that_names_no_key_is_refused(label: bytes) -> None:
    sealed = await EncryptionCodec(KEY).encode([payload("x")])
    sealed[0].metadata[KEY_ID_FIELD] = label
    with pytest.raises(PayloadKeyUnknown):
        await EncryptionCodec(KEY).decode(sealed)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        EncryptionCodec(b"short")
