"""The acting half of the egress policy, against real sockets on loopback and a resolver that lies."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import pytest

from activities.egress.fetch import MAX_REDIRECTS, Bounds, Fetcher
from activities.egress.resolve import checked_addresses, system_resolver
from models.domain.egress import Address, EgressPolicy, EgressRefused, TargetMisbehaved, TargetUnreachable
from tests.patience import GIVE_UP_S

HOME, VICTIM = "127.0.0.1", "127.0.0.2"
POLICY = EgressPolicy.parse([f"{HOME}/32"])
Reply = Callable[[bytes], bytes | Awaitable[bytes]]


class Names:
    """A resolver that answers from a script: the last answer of a name repeats."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self._answers = {name.replace("_", "."): list(lists) for name, lists in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str) -> list[Address]:
        self.asked.append(host)
        lists = self._answers.get(host)
        if lists is None:
            raise OSError("no such name")
        answer = lists.pop(0) if len(lists) > 1 else lists[0]
        return [ip_address(text) for text in answer]


@asynccontextmanager
async def server(reply: Reply, host: str = HOME, port: int = 0) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Answers each request head with `reply(head)` and closes; yields its port and the heads it saw."""
    heads: list[bytes] = []
    served: list[asyncio.Task[Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.extend(filter(None, [asyncio.current_task()]))
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            heads.append(head)
            answer = reply(head)
            writer.write(answer if isinstance(answer, bytes) else await answer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            heads.append(b"(cut)")
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, host, port)
    async with listening:
        yield listening.sockets[0].getsockname()[1], heads
    for task in served:  # its callers have gone, but not every answer has noticed
        task.cancel()
    await asyncio.gather(*served, return_exceptions=True)


def ok(body: bytes = b"hello", *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"content-length: {len(body)}", "connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()


async def test_an_allowed_name_is_called_with_its_own_name_as_host() -> None:
    names = Names(hook_example=[[HOME]])
    async with server(lambda _: ok()) as (port, heads), Fetcher(POLICY, resolve=names) as fetcher:
        answer = await fetcher.fetch("GET", f"http://hook.example:{port}/a?b=c")
    assert (answer.status, answer.body) == (200, b"hello")
    assert heads[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert f"host: hook.example:{port}".encode() in heads[0].lower()


async def test_a_name_is_resolved_once_and_the_judged_address_is_the_one_called() -> None:
    """DNS rebinding: the second answer would lead to the victim; it is never asked for."""
    names = Names(rebind_example=[[HOME], [VICTIM]])
    async with (
        server(lambda _: ok(b"harmless")) as (port, _),
        server(lambda _: ok(b"secret"), VICTIM, port) as (_, seen),
        Fetcher(POLICY, resolve=names) as fetcher,
    ):
        assert (await fetcher.fetch("GET", f"http://rebind.example:{port}/")).body == b"harmless"
        assert names.asked == ["rebind.example"]
        with pytest.raises(EgressRefused):
            await fetcher.fetch("GET", f"http://rebind.example:{port}/")
    assert seen == []


async def test_one_bad_record_refuses_the_name_whatever_their_order() -> None:
    names = Names(good_first=[[HOME, VICTIM]], bad_first=[[VICTIM, HOME]])
    async with server(lambda _: ok()) as (port, heads), Fetcher(POLICY, resolve=names) as fetcher:
        for host in ("good.first", "bad.first"):
            with pytest.raises(EgressRefused):
                await fetcher.fetch("GET", f"http://{host}:{port}/")
    assert heads == []


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/latest/meta-data/", "http://victim.example:{port}/", "//127.0.0.2:{port}/", "http://[::1]:{port}/",
     "http://0x7f.0.0.1:{port}/", "ftp://hook.example/", "file:///etc/passwd", "http://user:pw@hook.example:{port}/",
     "http://hook.example:6379/", "http://2130706434:{port}/", "http://[::ffff:127.0.0.2]:{port}/"],
)  # fmt: skip
async def test_a_redirect_is_judged_like_the_first_address(location: str) -> None:
    names = Names(hook_example=[[HOME]], victim_example=[[VICTIM]])

    def reply(_: bytes) -> bytes:
        return redirect(location.format(port=port))

    async with (
        server(reply) as (port, heads),
        server(lambda _: ok(b"secret"), VICTIM, port) as (_, seen),
        Fetcher(POLICY, resolve=names) as fetcher,
    ):
        with pytest.raises(EgressRefused):
            await fetcher.fetch("GET", f"http://hook.example:{port}/")
    assert len(heads) == 1
    assert seen == []


async def test_a_redirect_to_another_origin_takes_none_of_the_callers_headers_along() -> None:
    names = Names(one_example=[[HOME]], two_example=[[HOME]])
    headers = {"Authorization": "Bearer key-1", "X-Api-Key": "key-2", "Cookie": "key=3"}
    async with (
        server(lambda _: ok()) as (second, seen),
        server(lambda _: redirect(f"http://two.example:{second}/")) as (first, heads),
        Fetcher(POLICY, resolve=names) as fetcher,
    ):
        answer = await fetcher.fetch("GET", f"http://one.example:{first}/", headers=headers)
    assert answer.url == f"http://two.example:{second}/"
    assert all(key in heads[0] for key in (b"key-1", b"key-2", b"key=3"))
    assert b"key" not in seen[0]
    assert f"host: two.example:{second}".encode() in seen[0].lower()


async def test_a_redirect_within_the_origin_keeps_them() -> None:
    names = Names(one_example=[[HOME]])
    replies = iter([redirect("/next"), ok(b"arrived")])
    async with server(lambda _: next(replies)) as (port, heads), Fetcher(POLICY, resolve=names) as fetcher:
        answer = await fetcher.fetch("GET", f"http://one.example:{port}/", headers={"X-Api-Key": "key-2"})
    assert answer.body == b"arrived"
    assert all(b"key-2" in head for head in heads)


async def test_redirects_end() -> None:
    names = Names(loop_example=[[HOME]])
    async with server(lambda _: redirect("/again")) as (port, heads), Fetcher(POLICY, resolve=names) as fetcher:
        with pytest.raises(TargetMisbehaved, match=str(MAX_REDIRECTS)):
            await fetcher.fetch("GET", f"http://loop.example:{port}/")
    assert len(heads) == MAX_REDIRECTS + 1


async def test_cookies_of_one_call_are_not_sent_by_the_next() -> None:
    names = Names(hook_example=[[HOME]])
    async with (
        server(lambda _: ok(b"", "set-cookie: session=1; path=/")) as (port, heads),
        Fetcher(POLICY, resolve=names) as fetcher,
    ):
        for _ in range(2):
            await fetcher.fetch("GET", f"http://hook.example:{port}/")
    assert b"session" not in heads[1]


async def test_too_much_is_refused_even_when_the_length_was_not_told() -> None:
    names = Names(big_example=[[HOME]])
    endless = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b"x" * 200_000
    async with server(lambda _: endless) as (port, _), Fetcher(POLICY, resolve=names) as fetcher:
        with pytest.raises(TargetMisbehaved, match="100000 bytes"):
            await fetcher.fetch("GET", f"http://big.example:{port}/", bounds=Bounds(body_bytes=100_000))
        body = (await fetcher.fetch("GET", f"http://big.example:{port}/", bounds=Bounds(body_bytes=200_000))).body
    assert len(body) == 200_000


async def test_a_compressed_bomb_is_not_unpacked() -> None:
    names = Names(bomb_example=[[HOME]])
    bomb = ok(gzip.compress(b"\0" * 10_000_000), "content-encoding: gzip")
    async with server(lambda _: bomb) as (port, heads), Fetcher(POLICY, resolve=names) as fetcher:
        with pytest.raises(TargetMisbehaved, match="compressed"):
            await fetcher.fetch("GET", f"http://bomb.example:{port}/")
    assert b"accept-encoding: identity" in heads[0].lower()


async def test_the_time_limit_covers_everything_together() -> None:
    async def slowly(_: bytes) -> bytes:
        await asyncio.Event().wait()
        return ok()

    names = Names(slow_example=[[HOME]])
    async with server(slowly) as (port, _), Fetcher(POLICY, resolve=names) as fetcher:
        async with asyncio.timeout(GIVE_UP_S):
            with pytest.raises(TargetUnreachable, match=r"slow\.example") as caught:
                await fetcher.fetch("GET", f"http://slow.example:{port}/", bounds=Bounds(total_s=0.2))
    assert caught.value.retryable


async def test_a_dead_first_address_does_not_hide_a_living_second() -> None:
    policy = EgressPolicy.parse(["127.0.0.0/8"])
    names = Names(twins_example=[["127.0.0.3", HOME]])
    async with server(lambda _: ok()) as (port, _), Fetcher(policy, resolve=names) as fetcher:
        assert (await fetcher.fetch("GET", f"http://twins.example:{port}/")).status == 200


async def test_nobody_listening_and_no_such_name_are_retryable() -> None:
    async with server(lambda _: ok()) as (port, _):
        pass
    async with Fetcher(POLICY, resolve=Names(hook_example=[[HOME]])) as fetcher:
        for url in (f"http://hook.example:{port}/", "http://nowhere.example/"):
            with pytest.raises(TargetUnreachable) as caught:
                await fetcher.fetch("GET", url)
            assert caught.value.retryable


async def test_tls_asks_for_the_name_and_not_for_the_address() -> None:
    """The ClientHello carries the server name in clear: enough to see what the certificate will be compared with."""
    hello: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not hello.done():
            hello.set_result(await reader.read(4096))
        writer.close()

    listening = await asyncio.start_server(serve, HOME, 0)
    async with listening, Fetcher(POLICY, resolve=Names(secure_example=[[HOME]])) as fetcher:
        with pytest.raises(TargetUnreachable):
            await fetcher.fetch("GET", f"https://secure.example:{listening.sockets[0].getsockname()[1]}/")
    assert b"secure.example" in await hello
    assert HOME.encode() not in await hello


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would resolve the name again, and out of sight."""
    names = Names(hook_example=[[HOME]])
    async with server(lambda _: ok(b"by the proxy")) as (proxy, seen), server(lambda _: ok(b"direct")) as (port, _):
        for variable in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(variable, f"http://{HOME}:{proxy}")
        async with Fetcher(POLICY, resolve=names) as fetcher:
            assert (await fetcher.fetch("GET", f"http://hook.example:{port}/")).body == b"direct"
    assert seen == []


async def test_this_machines_own_names_are_refused_by_what_they_resolve_to() -> None:
    for host in ("localhost", "127.0.0.1", "::1"):
        with pytest.raises(EgressRefused):
            await checked_addresses(host, EgressPolicy(), system_resolver)


async def test_a_resolver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.egress.resolve.RESOLVE_TIMEOUT_S", 0.05)

    async def hangs(host: str) -> list[Address]:
        await asyncio.Event().wait()
        return []

    async with asyncio.timeout(GIVE_UP_S):
        with pytest.raises(TargetUnreachable):
            await checked_addresses("hook.example", POLICY, hangs)
