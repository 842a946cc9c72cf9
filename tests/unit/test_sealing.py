"""Sealing values: what opens where, with which key, and that nothing of the value shows on the way."""

from __future__ import annotations

import logging
import traceback
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from models.base.errors import AppError, InvalidRequest
from models.domain.sealing import (
    LONGEST_BYTES,
    Cell,
    PrivateSeals,
    PublicSeal,
    SealBroken,
    Sealed,
    SealKeyUnknown,
    TenantSeals,
    make_private_key,
    public_key_of,
)

OLD, NEW = b"o" * 32, b"n" * 32
CELL = Cell(uuid4(), "mailboxes", "password", uuid4())
ELSEWHERE = [
    replace(CELL, organization_id=uuid4()), replace(CELL, table="accounts"), replace(CELL, column="token"),
    replace(CELL, row_id=uuid4()), replace(CELL, table="mailboxesp", column="assword"),
]  # fmt: skip
SECRET = SecretStr("hunter2 ✓")
PRIVATE = make_private_key()


def by_key(cell: Cell = CELL, value: SecretStr = SECRET) -> Sealed:
    return TenantSeals([OLD]).seal(value, cell)


def by_box(cell: Cell = CELL, value: SecretStr = SECRET) -> Sealed:
    return PublicSeal(public_key_of(PRIVATE)).seal(value, cell)


MODES = pytest.mark.parametrize(
    ("seal", "opener"), [(by_key, TenantSeals([OLD])), (by_box, PrivateSeals([PRIVATE]))], ids=["key", "box"]
)


@MODES
def test_it_opens_in_its_cell_only(seal, opener):
    assert opener.open(seal(), CELL).get_secret_value() == SECRET.get_secret_value()
    assert seal() != seal(), "the same value twice does not look the same"
    for cell in ELSEWHERE:
        with pytest.raises(SealBroken):
            opener.open(seal(), cell)


@MODES
def test_a_text_that_was_altered_does_not_open(seal, opener):
    format_, key, content = seal().text.split(".")
    raw = bytearray(urlsafe_b64decode(content + "=" * (-len(content) % 4)))
    for at in range(0, len(raw), 7):
        changed = bytes(raw[:at]) + bytes([raw[at] ^ 1]) + bytes(raw[at + 1 :])
        with pytest.raises(SealBroken):
            opener.open(Sealed(f"{format_}.{key}.{urlsafe_b64encode(changed).decode().rstrip('=')}"), CELL)
    for text in [
        "",
        "x",
        f"{format_}.{key}.",
        f"{format_}.{key}.A",
        f"{format_}.{key}.AAAA",
        content,
        f"qd9s.{key}.{content}",
        seal().text + "\n",
    ]:
        with pytest.raises(SealBroken):
            opener.open(Sealed(text), CELL)


def test_one_mode_does_not_open_what_the_other_sealed():
    with pytest.raises(SealBroken):
        TenantSeals([OLD]).open(by_box(), CELL)
    with pytest.raises(SealBroken):
        PrivateSeals([PRIVATE]).open(by_key(), CELL)


def test_a_rotated_key_opens_what_was_sealed_before_and_seals_no_more():
    rotated = TenantSeals([NEW, OLD])
    before = by_key()
    assert rotated.open(before, CELL).get_secret_value() == SECRET.get_secret_value()
    after = rotated.seal(SECRET, CELL)
    assert (after.key_id, before.key_id == rotated.current) == (rotated.current, False)
    assert TenantSeals([NEW]).open(after, CELL).get_secret_value() == SECRET.get_secret_value()
    for seals, sealed in ((TenantSeals([NEW]), before), (TenantSeals([OLD]), after)):
        with pytest.raises(SealKeyUnknown):
            seals.open(sealed, CELL)


def test_a_box_opens_with_its_private_key_alone():
    other = make_private_key()
    with pytest.raises(SealKeyUnknown):
        PrivateSeals([other]).open(by_box(), CELL)
    assert PrivateSeals([other, PRIVATE]).open(by_box(), CELL).get_secret_value() == SECRET.get_secret_value()
    with pytest.raises(ValueError, match="32 bytes"):
        PublicSeal(b"short")


@MODES
@pytest.mark.parametrize("value", ["x" * (LONGEST_BYTES + 1), "\ud800 lone surrogate"])
def test_what_is_too_long_or_no_text_is_refused(seal, opener, value: str):
    with pytest.raises(InvalidRequest) as refused:
        seal(CELL, SecretStr(value))
    assert refused.value.__context__ is None, "the error of the encoder has the value in it"


@MODES
def test_nothing_of_the_value_shows_in_reprs_logs_and_exceptions(seal, opener, caplog):
    value = SecretStr("swordfish-1234")
    sealed = seal(CELL, value)
    caplog.set_level(logging.DEBUG)
    logging.getLogger("test").info("%r %s %r %r", sealed, sealed, opener, opener.open(sealed, CELL))
    told = [repr(sealed), str(sealed), caplog.text]
    for cell in ELSEWHERE:
        try:
            opener.open(sealed, cell)
        except AppError as error:
            told += ["".join(traceback.format_exception(error)), repr(error.details)]
    assert "swordfish" not in "".join(told)
    assert "swordfish" not in sealed.text


@given(st.text(max_size=300))
def test_any_text_comes_back_as_it_was(value: str):
    try:
        value.encode()
    except UnicodeEncodeError:
        return
    assert TenantSeals([OLD]).open(by_key(value=SecretStr(value)), CELL).get_secret_value() == value
    assert PrivateSeals([PRIVATE]).open(by_box(value=SecretStr(value)), CELL).get_secret_value() == value
