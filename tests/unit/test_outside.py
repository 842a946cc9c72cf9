"""Calls to other machines: which way they go, and what is said where it fails. `*.example` is nowhere: a proxy is asked for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from aiohttp import web
from pydantic import SecretStr

from activities.adapters.mock import CloudClient
from activities.outside import OutsideTransport
from activities.runtime.client import TemporalUnreachable, connect
from api.inference.upstream import Limits, Upstream, UpstreamFailure
from models.base.certificates import UnusableCertificates, chosen_authorities
from models.base.errors import ProviderAuth, ProviderUnavailable
from models.domain.inference.routing import Route
from models.settings import Settings
from node.control_plane import ControlPlane, Unreachable
from tests.patience import GIVE_UP_S
from tests.proxy import SECRET, USER, RecordingProxy, recording_proxy
from tests.tls_server import serving_tls
from tests.web_server import end
from workers.embedded.ports import free_port

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
KEY = "vM3qkZ0oU5xJt1yWc8Rr2bA7nE4sDfGhIjKlPpQqTtU"


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@asynccontextmanager
async def served() -> AsyncIterator[tuple[str, int]]:
    """A server that answers every request with an empty object."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"instances": []})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0]
    finally:
        await end(runner)


async def asked_of_the_cloud(url: str) -> list[object]:
    async with httpx.AsyncClient(transport=OutsideTransport(), trust_env=False, timeout=GIVE_UP_S) as http:
        client = CloudClient(http, base_url=url, token=SecretStr("t"))
        return list(await client.instances([]))


async def asked_of_a_model_server(url: str) -> int:
    upstream = Upstream(Limits(5.0, 5.0, 5.0, 5.0))
    try:
        route = Route(UUID(int=1), UUID(int=2), 1, "m", url, "Bearer k", 0, float("inf"))
        async with await upstream.post(route, "/v1/completions", b"{}", {}, is_stream=False) as answer:
            return answer.status
    finally:
        await upstream.close()


async def asked_of_the_control_plane(url: str) -> None:
    async with ControlPlane(url) as control_plane:
        await control_plane.heartbeat("t", {})


async def through(proxy: RecordingProxy, line: str) -> None:
    assert proxy.asked[-1:] == [line]
    assert proxy.credentials == {f"{USER}:{SECRET}"}
    proxy.asked.clear()


async def test_what_is_elsewhere_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as address:
        with recording_proxy(address) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
            assert await asked_of_the_cloud("http://cloud.example:8900") == []
            await through(proxy, "GET http://cloud.example:8900/v1/instances?limit=500")
            assert await asked_of_a_model_server("http://gpu-a.example:8080") == 200
            await through(proxy, "POST http://gpu-a.example:8080/v1/completions")
            await asked_of_the_control_plane("http://deck-a.example")
            await through(proxy, "POST http://deck-a.example/internal/worker/heartbeat")


async def test_what_is_on_this_machine_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/authorities.pem")
    async with served() as (_, port):
        here = f"http://127.0.0.1:{port}"
        assert await asked_of_the_cloud(here) == []
        assert await asked_of_a_model_server(here) == 200
        await asked_of_the_control_plane(here)


@pytest.mark.parametrize(
    ("refusal", "said"),
    [(None, "does not answer"), (407, "refused"), ("socks", "SOCKS"), ("nonsense", "address of a proxy")],
)
async def test_a_proxy_that_is_of_no_use_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, refusal: int | str | None, said: str
) -> None:
    caplog.set_level(logging.WARNING)
    number = refusal or ""
    with recording_proxy(refusal=407) as refusing:
        values: dict[int | str | None, str] = {
            None: f"http://me:{SECRET}@127.0.0.1:{free_port()}",
            407: refusing.url,
            "socks": f"socks5://me:{SECRET}@127.0.0.1:1",
            "nonsense": f"nonsense://{SECRET}",
        }
        monkeypatch.setenv("HTTPS_PROXY", values[refusal])
        name = f"https://gpu-{number}.example"
        with pytest.raises(ProviderUnavailable) as cloud:
            await asked_of_the_cloud(name)
        with pytest.raises(UpstreamFailure) as upstream:
            await asked_of_a_model_server(name)
        with pytest.raises(Unreachable) as control_plane:
            await asked_of_the_control_plane(name)
    assert upstream.value.error.code == "UPSTREAM_UNREACHABLE"
    lines = {record.name: record.getMessage() for record in caplog.records}
    assert lines.keys() == {"activities.outside", "api.inference.upstream"}
    assert len(caplog.records) == 2
    for text in (str(cloud.value), *lines.values(), str(control_plane.value)):
        assert said in text
        assert "HTTPS_PROXY" in text
        assert "\n" not in text
    assert SECRET not in f"{cloud.value} {upstream.value} {control_plane.value} {caplog.text}"


async def test_a_plain_answer_of_the_proxy_itself_is_not_the_model_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    with recording_proxy(refusal=407) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with pytest.raises(UpstreamFailure) as refused:
            await asked_of_a_model_server("http://gpu-407.example")
    assert refused.value.is_retryable


async def test_missing_authorities_fail_the_calls_that_need_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/authorities.pem")
    async with httpx.AsyncClient(transport=OutsideTransport(), trust_env=False) as http:
        with pytest.raises(httpx.ConnectError, match="SSL_CERT_FILE"):
            await http.get("https://127.0.0.1:1")
        with pytest.raises(httpx.ConnectError, match="All connection attempts failed"):
            await http.get("http://127.0.0.1:1")


async def test_a_certificate_that_nobody_vouches_for_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with serving_tls(tmp_path) as server, recording_proxy(server.address) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(ProviderUnavailable):
            await asked_of_the_cloud("https://deck.example")
        with pytest.raises(UpstreamFailure):
            await asked_of_a_model_server("https://deck.example")
        with pytest.raises(Unreachable, match="SSL_CERT_FILE"):
            await asked_of_the_control_plane("https://deck.example")
        assert ["SSL_CERT_FILE" in record.getMessage() for record in caplog.records] == [True, True]
        monkeypatch.setenv("SSL_CERT_FILE", str(server.authorities))
        with pytest.raises(ProviderAuth):
            await asked_of_the_cloud("https://deck.example")
    assert server.asked == ["GET /v1/instances?limit=500"]


async def test_temporal_with_tls_is_asked_for_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with recording_proxy(refusal=403) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        settings = Settings(
            home=tmp_path, installation_key=KEY, temporal_address="temporal.example:7233", temporal_tls=True
        )
        with pytest.raises(TemporalUnreachable) as refused:
            await connect(settings)
        assert set(proxy.asked) == {"CONNECT temporal.example:7233"}
        assert proxy.credentials == {f"{USER}:{SECRET}"}
    assert "HTTPS_PROXY" in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("value", ["socks5://127.0.0.1:1", "https://127.0.0.1:1"])
async def test_temporal_says_which_proxy_it_cannot_speak_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    settings = Settings(
        home=tmp_path, installation_key=KEY, temporal_address="temporal.example:7233", temporal_tls=True
    )
    with pytest.raises(TemporalUnreachable, match="ALL_PROXY"):
        await connect(settings)


async def test_temporal_in_clear_text_has_no_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is in a network of one's own. A listener that says nothing is called, and the proxy is not."""
    called = asyncio.Event()

    async def hear(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        writer.close()

    async with await asyncio.start_server(hear, "127.0.0.1", 0) as server:
        with recording_proxy() as proxy:
            monkeypatch.setenv("ALL_PROXY", proxy.url)
            port = server.sockets[0].getsockname()[1]
            settings = Settings(home=tmp_path, installation_key=KEY, temporal_address=f"127.0.0.1:{port}")
            with pytest.raises(TemporalUnreachable):
                await connect(settings)
            assert called.is_set()
            assert proxy.asked == []


def test_authorities_are_those_that_the_environment_names(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    assert chosen_authorities({}) is None
    assert chosen_authorities({"SSL_CERT_DIR": str(tmp_path)}) is not None
    for environ in (
        {"SSL_CERT_FILE": str(tmp_path / "missing.pem")},
        {"SSL_CERT_FILE": str(garbage)},
        {"SSL_CERT_FILE": str(tmp_path)},
        {"SSL_CERT_DIR": str(tmp_path / "missing")},
    ):
        with pytest.raises(UnusableCertificates) as refused:
            chosen_authorities(environ)
        assert str(refused.value).startswith(next(iter(environ)))
