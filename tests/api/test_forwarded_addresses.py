"""Whose address counts: that of a caller, as a proxy of ours says it, and as nobody else does. A process behind real sockets."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.factories.api_process import api_process
from tests.servers import TestDatabase

PROXY, STRANGER = "127.0.0.1", "127.0.0.9"
MANY = 60
"""Far more attempts than the five of a caller and login, and than what leaks out of their bucket meanwhile (one in 12 s)."""


@pytest.fixture(scope="module")
def process(module_database: TestDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    with api_process(module_database, tmp_path_factory.mktemp("process"), trusted_proxies=PROXY) as made:
        yield made


def attempt(url: str, source: str, forwarded: str | None) -> int:
    with httpx.Client(transport=httpx.HTTPTransport(local_address=source), trust_env=False) as client:
        body = {"email": "nobody@example.org", "password": "guess"}
        headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
        return client.post(f"{url}/auth/login", json=body, headers=headers).status_code


def is_limited(url: str, source: str, forwarded: Iterator[str | None]) -> bool:
    """Whether these attempts come to an end."""
    return any(attempt(url, source, said) == 429 for said in itertools.islice(forwarded, MANY))


def test_callers_behind_our_proxy_are_told_apart(process: tuple[str, Path]) -> None:
    url, _ = process
    assert is_limited(url, PROXY, itertools.repeat("203.0.113.1"))
    assert attempt(url, PROXY, "203.0.113.2") == 401
    assert is_limited(url, PROXY, itertools.repeat("::ffff:203.0.113.3"))
    assert attempt(url, PROXY, "::ffff:203.0.113.4") == 401


def test_what_a_caller_adds_before_what_our_proxy_says_changes_nothing(process: tuple[str, Path]) -> None:
    url, _ = process
    assert is_limited(url, PROXY, (f"10.1.0.{number}, 203.0.113.5" for number in itertools.count()))


def test_a_stranger_speaks_for_nobody(process: tuple[str, Path]) -> None:
    url, _ = process
    assert is_limited(url, STRANGER, (f"203.0.113.{number}" for number in itertools.count(100)))
    assert attempt(url, PROXY, "203.0.113.100") == 401, "whom the stranger claimed to be has lost nothing"


def test_a_start_in_production_warns_once_of_addresses_that_are_not_the_callers(
    module_database: TestDatabase, tmp_path: Path
) -> None:
    settings = {"environment": "production", "public_url": "https://deck.example.org", "trusted_proxies": ""}
    with api_process(module_database, tmp_path, **settings) as (_, log):
        pass
    assert log.read_text().count("QUARTERDECK_TRUSTED_PROXIES is not set") == 1
