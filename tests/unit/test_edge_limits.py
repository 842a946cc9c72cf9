"""What counts callers at the edge: connections, streams, boots, and the log lines that they can provoke."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

import api.__main__
import node.__main__
import simcloud.__main__
import workers.embedded.up
import workers.worker
from activities.runtime.line_limit import KINDS, PER_MINUTE, WINDOW_S, LineLimit, text_of
from api.http.addresses import doubt_about_addresses, proxies, site_of, trusted_hosts
from api.http.connections import FEWEST, FULL, LINGERING, TOO_MANY, Connections, Patience
from api.http.stream_slots import StreamSlots
from api.node_agents import boots
from api.node_agents.boots import MOST_BOOTS, BootLimits
from models.base.errors import RateLimited, Unauthenticated
from models.base.ids import new_id
from models.domain.identity.principal import Principal
from models.domain.identity.roles import Role
from models.settings import Environment, Settings
from tests.api.conftest import INSTALLATION_KEY


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_who_counts_as_one_caller(address: str, site: str) -> None:
    assert site_of(address) == site


@pytest.mark.parametrize(
    ("trusted", "address", "is_one"),
    [
        ("", "127.0.0.1", False),
        ("10.0.0.1, 192.0.2.0/24", "192.0.2.77", True),
        ("10.0.0.1, 192.0.2.0/24", "10.0.0.1", True),
        ("10.0.0.1, 192.0.2.0/24", "10.0.0.2", False),
        ("10.0.0.1, 192.0.2.0/24", "::ffff:192.0.2.77", True),
        ("10.0.0.1, 192.0.2.0/24", "::ffff:192.0.3.77", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::1", "::1", True),
        ("*", "203.0.113.9", True),
        ("nonsense", "unknown", False),
    ],
)
def test_who_is_a_proxy_of_ours(trusted: str, address: str, is_one: bool) -> None:
    assert proxies(trusted)(address) == is_one


def test_connections_of_a_site_are_counted_and_given_back() -> None:
    counted = Connections(Patience(), per_site=2, in_all=100, is_proxy=proxies("10.0.0.1"))
    addresses = ["2001:db8::1", "2001:db8::2", "2001:db8::3"]
    assert [counted.opened(address) for address in addresses] == [None, None, TOO_MANY]
    assert counted.opened("2001:db8:0:1::1") is None
    assert [counted.opened("10.0.0.1") for _ in range(5)] == [None] * 5
    for address in addresses[:2]:  # the refused one is still open
        counted.closed(address)
    assert [counted.opened("2001:db8::9"), counted.opened("2001:db8::9")] == [None, TOO_MANY]


def test_callers_of_a_socket_that_speaks_both_protocols_have_their_own_connections() -> None:
    counted = Connections(Patience(), per_site=1, in_all=100, is_proxy=proxies("10.0.0.1"))
    assert [counted.opened(f"::ffff:192.0.2.{number}") for number in (1, 2, 1)] == [None, None, TOO_MANY]
    assert [counted.opened("::ffff:10.0.0.1") for _ in range(5)] == [None] * 5


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "client"),
    [
        ("10.0.0.0/8", "10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.0/8", "::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.1", "203.0.113.9, ::ffff:10.0.0.2", "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.1", "1.2.3.4, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.0/8", "192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("10.0.0.0/8", "::ffff:192.0.2.1", "203.0.113.9", "::ffff:192.0.2.1"),
    ],
)
async def test_who_is_believed_to_speak_for_whom(trusted: str, peer: str, forwarded: str, client: str) -> None:
    """With uvicorn's own reading of the header."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["client"][0])

    scope: Scope = {
        "type": "http", "client": (peer, 1), "scheme": "http", "headers": [(b"x-forwarded-for", forwarded.encode())],
    }  # fmt: skip
    middleware = ProxyHeadersMiddleware(app, trusted_hosts(trusted))  # type: ignore[arg-type]
    await middleware(scope, None, None)  # type: ignore[arg-type]
    assert seen == [client]


PRODUCTION = {
    "environment": Environment.PRODUCTION,
    "installation_key": SecretStr(INSTALLATION_KEY),
    "temporal_address": "temporal:7233",
    "public_url": "https://quarterdeck.example.org",
}


@pytest.mark.parametrize(
    ("settings", "doubt"),
    [
        ({}, None),
        ({**PRODUCTION, "trusted_proxies": "10.0.0.1"}, None),
        (PRODUCTION, "is not set"),
        ({**PRODUCTION, "trusted_proxies": " , "}, "is not set"),
        ({**PRODUCTION, "trusted_proxies": "*"}, "is *"),
    ],
)
def test_what_is_doubtful_about_addresses_in_production(settings: dict[str, Any], doubt: str | None) -> None:
    found = doubt_about_addresses(Settings(**settings))
    assert (found is None) == (doubt is None)
    assert found is None or f"QUARTERDECK_TRUSTED_PROXIES {doubt}" in found


def test_a_process_keeps_files_for_other_things_than_callers() -> None:
    settings = Settings(connections_per_address=10_000)
    counted = Connections.allowed_by(settings, files=1_024)
    refused = [counted.opened(f"10.0.{number // 200}.{number % 200}") for number in range(1_024)]
    assert refused.index(FULL) == (1_024 - 128) // 2
    assert [Connections.allowed_by(settings, files=10).opened("x") for _ in range(FEWEST)] == [None] * FEWEST


def test_not_all_that_are_refused_are_told_why() -> None:
    counted = Connections(Patience(), per_site=1, in_all=1)
    assert [counted.may_linger() for _ in range(LINGERING + 1)] == [True] * LINGERING + [False]
    counted.lingered()
    assert counted.may_linger()


def principal(**more: object) -> Principal:
    return Principal(user_id=new_id(), organization_id=new_id(), role=Role.OWNER, **more)  # type: ignore[arg-type]


def test_streams_are_counted_for_each_principal() -> None:
    slots, one, other = StreamSlots(2), principal(api_key_id=new_id()), principal()
    with slots.slot(one), slots.slot(one), slots.slot(other):
        with pytest.raises(RateLimited) as refused, slots.slot(one):
            pytest.fail("a third one")
        assert (refused.value.status, refused.value.code) == (429, "STREAM_LIMIT")
        assert refused.value.retry_after_s
    with slots.slot(one), slots.slot(one):
        pass


class TestBoots:
    """Of an agent: ten in a minute, and as many reports of each as it likes."""

    def setup_method(self) -> None:
        self.now_s = 1_000.0
        self.limits = BootLimits(lambda: self.now_s)
        self.agent = new_id()

    def report(self, boot_id: str | None) -> None:
        with self.limits.counted(self.agent, boot_id):
            pass

    def test_an_eleventh_is_refused_until_the_first_is_a_minute_old(self) -> None:
        for number in range(MOST_BOOTS):
            self.report(f"boot-{number}")
            self.now_s += 1
        with pytest.raises(RateLimited) as refused:
            self.report("boot-x")
        assert (refused.value.status, refused.value.code) == (429, "BOOT_LIMIT")
        assert refused.value.retry_after_s == boots.WINDOW_S - MOST_BOOTS
        self.report(f"boot-{MOST_BOOTS - 1}")  # the boot that it reported last
        self.report(None)
        self.now_s = 1_000.0 + boots.WINDOW_S
        self.report("boot-x")

    def test_going_back_and_forth_counts_too(self) -> None:
        for number in range(MOST_BOOTS):
            self.report(f"boot-{number % 2}")
        with pytest.raises(RateLimited):
            self.report(f"boot-{MOST_BOOTS % 2}")

    def test_what_fails_counts_for_nobody(self) -> None:
        self.report("own")
        for number in range(MOST_BOOTS * 2):
            with pytest.raises(Unauthenticated), self.limits.counted(self.agent, f"forged-{number}"):
                raise Unauthenticated("a stranger")
        for number in range(MOST_BOOTS - 1):
            self.report(f"boot-{number}")
        with pytest.raises(RateLimited):
            self.report("boot-x")

    def test_those_at_the_same_time_count_at_once(self) -> None:
        entered = [self.limits.counted(self.agent, f"boot-{number}") for number in range(MOST_BOOTS)]
        for each in entered:
            each.__enter__()
        with pytest.raises(RateLimited):
            self.report("boot-x")


class TestLines:
    """Of a kind: ten in a minute, then a line that says how many more there were."""

    def setup_method(self) -> None:
        self.now_s = 0.0
        self.lines: list[str] = []
        self.logger = logging.getLogger(f"edge-limits-{new_id()}")  # a filter stays with its logger
        self.logger.setLevel(logging.INFO)
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]
        self.logger.addHandler(handler)
        self.limit = LineLimit(self.logger, now_s=lambda: self.now_s)
        self.limit.begin()

    def test_a_flood_is_ten_lines_and_a_count(self) -> None:
        for number in range(1_000):
            self.logger.warning("%d is no request", number)
            self.logger.error("a failure of ours")
        assert len([line for line in self.lines if "no request" in line]) == PER_MINUTE
        assert self.lines.count("a failure of ours") == 1_000
        self.limit.tell()
        assert "more lines" not in self.lines[-1], "the minute is not over"
        self.now_s += WINDOW_S
        self.limit.tell()
        assert self.lines[-1] == f"{1_000 - PER_MINUTE} more lines in 60 s like: %d is no request"
        self.limit.tell()
        assert len([line for line in self.lines if "more lines" in line]) == 1

    def test_the_next_minute_begins_anew_and_one_kind_does_not_hide_another(self) -> None:
        for _ in range(PER_MINUTE + 5):
            self.logger.warning("one")
        self.logger.warning("other")
        self.now_s += WINDOW_S
        self.logger.warning("one")
        assert self.lines == ["one"] * PER_MINUTE + ["other", "5 more lines in 60 s like: one", "one"]

    def test_where_all_of_a_loggers_lines_are_provoked_errors_are_counted_too(self) -> None:
        self.limit.end()
        self.limit = LineLimit(self.logger, text_of, now_s=lambda: self.now_s)
        self.limit.begin()
        for number in range(30):
            self.logger.error("%d is refused", number)
        self.now_s += WINDOW_S
        self.limit.tell()
        assert self.lines == [
            *(f"{number} is refused" for number in range(PER_MINUTE)),
            "20 more lines in 60 s like: %d is refused",
        ]

    def test_kinds_without_end_cost_no_memory(self) -> None:
        for number in range(KINDS * 2):
            self.logger.warning(f"kind {number}")  # noqa: G004 - that is the point
        assert len(self.lines) == KINDS


OPEN_FILES = """
import resource, sys
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
from {module} import allow_open_files
allow_open_files()
assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard, resource.getrlimit(resource.RLIMIT_NOFILE)
"""


@pytest.mark.parametrize("module", ["models.base.open_files", "node.open_files", "simcloud.open_files"])
def test_the_limit_of_open_files_is_raised_to_what_is_allowed(module: str) -> None:
    subprocess.run([sys.executable, "-c", OPEN_FILES.format(module=module)], check=True, timeout=60)


class Raised(Exception):
    pass


@pytest.fixture
def _umask_as_before() -> Iterator[None]:
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask_as_before")
@pytest.mark.parametrize(
    "module", [api.__main__, workers.worker, workers.embedded.up, simcloud.__main__, node.__main__]
)
def test_every_part_that_runs_long_raises_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: ModuleType
) -> None:
    def raised() -> None:
        raise Raised

    settings = Settings(
        home=tmp_path,
        installation_key=SecretStr(INSTALLATION_KEY),
        database_url_api=SecretStr("postgresql://quarterdeck_api@127.0.0.1:1/unused"),
    )
    starts: dict[ModuleType, Callable[[], object]] = {
        api.__main__: lambda: api.__main__.server(settings),
        workers.worker: lambda: workers.worker.main(["--queues", "records"]),
        workers.embedded.up: lambda: workers.embedded.up.up(settings),
        simcloud.__main__: lambda: simcloud.__main__.main(["--db", str(tmp_path / "cloud.db"), "--port", "0"]),
        node.__main__: node.__main__.main,
    }
    monkeypatch.setattr(sys, "argv", ["node", "--home", str(tmp_path)])
    monkeypatch.setattr(module, "allow_open_files", raised)
    with pytest.raises(Raised):
        starts[module]()
