"""What the shared base of bodies, cursors and amounts holds."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from api.http.pagination import Position, clamped, decode_cursor, encode_cursor
from api.schemas.base import Eur, Moment, RequestModel, ResponseModel
from models.base.errors import InvalidRequest


class Anything(RequestModel):
    value: object = None
    more: dict[str, object] = {}  # noqa: RUF012  (pydantic copies it)


class Bill(ResponseModel):
    amount: Eur
    at: Moment


@pytest.mark.parametrize(
    "body",
    [
        {"value": "a\0"},
        {"value": ["x", {"y": "\0"}]},
        {"more": {"\0": 1}},
        {"value": "\ud800"},
        {"more": {"deep": [[[["\udfff"]]]]}},
        {"unknown": 1},
    ],
)
def test_what_postgres_cannot_keep_and_unknown_fields_are_refused(body: dict[str, object]):
    with pytest.raises(ValidationError):
        Anything.model_validate(body)


def test_depth_is_no_way_to_break_it():
    nested: object = "x"
    for _ in range(5000):
        nested = [nested]
    assert Anything.model_validate({"value": nested}).value == nested


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_only_storable_text_gets_through(value: object):
    try:
        kept = Anything(value=value).value
    except ValidationError:
        assert "\\x00" in repr(value) or "\\ud" in repr(value)
    else:
        assert "\\x00" not in repr(kept).replace("\\\\", "")


def test_amounts_and_moments_on_the_wire():
    bill = Bill(amount=Decimal("0.1234567"), at=datetime(2026, 1, 31, 11, tzinfo=timezone(timedelta(hours=1))))
    assert bill.model_dump_json() == '{"amount":0.123457,"at":"2026-01-31T10:00:00Z"}'
    with pytest.raises(ValidationError):
        Bill(amount=Decimal(1), at=datetime(2026, 1, 31))  # noqa: DTZ001  (that is the point)


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_cursor_leads_back_to_its_position(moment: datetime, identifier: object):
    position = Position(moment, identifier)  # type: ignore[arg-type]
    assert decode_cursor(encode_cursor(position)) == position


@given(st.text(max_size=100))
def test_a_cursor_that_is_none_is_refused(text: str):
    with pytest.raises(InvalidRequest):
        decode_cursor(text)


@given(st.integers())
def test_a_limit_is_moved_inside(limit: int):
    assert 1 <= clamped(limit) <= 500
    assert clamped(limit) == limit or not 1 <= limit <= 500
