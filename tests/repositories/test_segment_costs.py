"""What a billing segment costs: begun seconds, in increments, at least the minimum, in EUR at six places (DESIGN rule 6)."""

import random
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

import psycopg
import pytest

from tests.servers import TestDatabase

OPENED_AT = datetime(2026, 10, 24, 12, tzinfo=UTC)
"""The night after it Europe sets its clocks back."""

COST = "SELECT segment_cost_eur(%s, %s, %s, %s, %s)"


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
