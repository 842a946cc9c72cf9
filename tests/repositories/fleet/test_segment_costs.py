"""What a billing segment costs: begun seconds, in increments, at least the minimum, in EUR at six places (DESIGN rule 6)."""

import random
import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.base.money import eur
from simcloud.clock import rfc3339
from simcloud.meter import Terms, amount_eur
from tests.servers import TestDatabase

OPENED_AT = datetime(2026, 10, 24, 12, tzinfo=UTC)
"""The night after it Europe sets its clocks back."""

COST = "SELECT segment_cost_eur(%s, %s, %s, %s, %s)"
COST_OF_TEXT = "SELECT segment_cost_eur(%s::text::timestamptz, %s::text::timestamptz, %s, %s, %s)"


@pytest.mark.parametrize(
    "case",  # seconds that it lasted, EUR per hour, increment and minimum in seconds, EUR
    [
        ("3600", "1.000000", 1, 0, "1.000000"),
        ("0", "1.000000", 1, 0, "0.000000"),
        ("0", "1.000000", 60, 60, "0.016667"),
        ("0.000001", "3.600000", 1, 0, "0.001000"),
        ("60", "1.000000", 60, 0, "0.016667"),
        ("60.000001", "1.000000", 60, 0, "0.033333"),
        ("59", "1.000000", 1, 60, "0.016667"),
        ("3601", "2.500000", 3600, 0, "5.000000"),
        ("86400", "0.000001", 1, 0, "0.000024"),
        ("31536000", "98.320000", 1, 0, "861283.200000"),
        ("-5", "1.000000", 1, 0, "0.000000"),
    ],
)
def test_costs(module_database: TestDatabase, case: tuple[str, str, int, int, str]) -> None:
    lasted_s, price, increment_s, minimum_s, expected = case
    until = OPENED_AT + timedelta(microseconds=int(Decimal(lasted_s) * 1_000_000))
    with psycopg.connect(module_database.admin) as connection:
        row = connection.execute(COST, (OPENED_AT, until, Decimal(price), increment_s, minimum_s)).fetchone()
    assert row == (Decimal(expected),)


def test_it_is_the_sum_that_anybody_can_do_by_hand(module_database: TestDatabase) -> None:
    chance = random.Random(6)
    with psycopg.connect(module_database.admin) as connection:
        for _ in range(500):
            micros = chance.choice([chance.randrange(10**7), chance.randrange(10**13), chance.randrange(10**6) * 10**6])
            price = Decimal(chance.randrange(1, 10**8)).scaleb(-6)
            increment_s, minimum_s = chance.choice([(1, 0), (1, 60), (60, 60), (3600, 0), (3600, 3600)])
            until = OPENED_AT + timedelta(microseconds=micros)
            row = connection.execute(COST, (OPENED_AT, until, price, increment_s, minimum_s)).fetchone()
            begun_s = max(-(-micros // 1_000_000), minimum_s)
            billed_s = -(-begun_s // increment_s) * increment_s
            assert row == ((price * billed_s / 3600).quantize(Decimal("0.000001"), ROUND_HALF_UP),)


MICROS_PER_S = 1_000_000
SOME_BEGINNING = int(OPENED_AT.timestamp()) * MICROS_PER_S


@st.composite
def _uses(draw: st.DrawFn) -> tuple[float, float, Decimal, Terms]:
    """From and until in seconds since the epoch, as the simulated cloud keeps them; the price of an hour; the terms."""
    terms = Terms(draw(st.sampled_from([1, 7, 60, 3600])), draw(st.sampled_from([0, 1, 60, 90, 3600])))
    on_an_increment = st.integers(0, 10_000).map(lambda n: n * terms.increment_s * MICROS_PER_S)
    beside_one = st.tuples(on_an_increment, st.sampled_from([-1, 1])).map(sum)
    lasted = draw(st.one_of(st.just(0), on_an_increment, beside_one, st.integers(0, 10**13)))
    began = SOME_BEGINNING + draw(st.one_of(st.just(0), st.integers(0, 10**15)))
    price = Decimal(draw(st.integers(0, 10**9))).scaleb(-6)
    return began / MICROS_PER_S, (began + lasted) / MICROS_PER_S, price, terms


def test_the_simulated_cloud_and_our_ledger_come_to_the_same_sum(module_database: TestDatabase) -> None:
    """Its rule and ours are written apart, since it shares no code with us. What passes between them is text."""
    with psycopg.connect(module_database.admin) as connection:

        @settings(max_examples=400)
        @given(_uses())
        @example((1_792_843_200.0, 1_792_843_200.0, Decimal(1), Terms(60, 60)))
        @example((1_792_843_200.000001, 1_792_843_201.000001, Decimal("0.0018"), Terms()))  # half a millionth: up
        @example((1_792_843_200.0, 1_792_843_205.0, Decimal("0.0018"), Terms()))  # even half a millionth: up as well
        def same(use: tuple[float, float, Decimal, Terms]) -> None:
            billed_from, until, price, terms = use
            told = rfc3339(billed_from), rfc3339(until)
            row = connection.execute(COST_OF_TEXT, (*told, price, terms.increment_s, terms.minimum_s)).fetchone()
            assert row == (amount_eur(str(price), billed_from, until, 0.0, terms),)

        same()


def test_nothing_else_computes_what_something_costs() -> None:
    """A function computes, one expression calls it; whatever tells a cost uses that."""
    root = Path(__file__).parents[3]
    product = ("activities", "api", "cli", "delivery", "models", "workers", "workflows")
    paths = [path for package in product for path in (root / package).rglob("*.*") if path.suffix in {".py", ".sql"}]
    texts = {path.name: path.read_text() for path in paths if path.parent.name != "versions"}
    by_the_hour = re.compile(r"price\w*\s*\*|\*\s*\w*\.?price|/\s*3600\b|/\s*3_600\b")
    assert {name for name, text in texts.items() if by_the_hour.search(text)} == {"segment_cost_eur.sql"}
    assert {name for name, text in texts.items() if "segment_cost_eur(" in text} == {
        "segment_cost_eur.sql",
        "billing.py",
    }


def test_half_a_millionth_is_rounded_up_everywhere() -> None:
    assert [eur(text) for text in ("0.0000005", "0.0000025", "-0.0000005")] == [
        Decimal(text) for text in ("0.000001", "0.000003", "-0.000001")
    ]
    assert amount_eur("0.0018", 0.0, 1.0, 0.0, Terms()) == Decimal("0.000001")
