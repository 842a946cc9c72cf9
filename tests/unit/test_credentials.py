"""Secrets that are computed instead of stored: the same everywhere, different for everything else, one-way."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from models.domain.instances.credentials import bootstrap_token, serving_key, shown_prefix, worker_token

KEY = bytes(range(32))
INSTANCE = UUID("019a0000-0000-7000-8000-000000000001")


def test_the_tokens_of_today_are_the_tokens_of_tomorrow() -> None:
    """Machines hold these: another derivation would lock every running one out."""
    assert bootstrap_token(KEY, INSTANCE, 1) == "bt_GaBj6cnbMt1O4lzR2P2y-G0kcr1NJqmEsdrbqW5vqyY"
    assert worker_token(KEY, INSTANCE, 1, "nonce") == "wk_lF1l3DkwgIVAAkktnbb_VySw3zCO1NR653wdJyTtClc"
    assert serving_key(KEY, INSTANCE, 1) == "sv_cWyk1PDyO7eBfgsHLKyOMQ1Pzn24Ehb8vwXyQd1tW3E"


@given(
    st.sets(st.uuids(), min_size=2, max_size=2),
    st.sets(st.integers(1, 10**6), min_size=2, max_size=2),
    st.sets(st.text(), min_size=2, max_size=2),
)
def test_no_two_are_alike(instances: set[UUID], generations: set[int], nonces: set[str]) -> None:
    made = [
        secret
        for instance in instances
        for generation in generations
        for secret in (
            bootstrap_token(KEY, instance, generation),
            serving_key(KEY, instance, generation),
            *(worker_token(KEY, instance, generation, nonce) for nonce in nonces),
        )
    ]
    assert len({secret.partition("_")[2] for secret in made}) == len(made) == 16


def test_another_installation_has_other_secrets() -> None:
    assert bootstrap_token(KEY, INSTANCE, 1) != bootstrap_token(bytes(32), INSTANCE, 1)


def test_what_is_shown_is_too_short_to_be_used() -> None:
    assert len(shown_prefix(worker_token(KEY, INSTANCE, 1, "n"))) == 12
