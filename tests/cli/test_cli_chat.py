"""Conversations: streamed, stopped, broken."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from tests.cli.command_line import CommandLine
from tests.cli.scripted_api import ScriptedApi
from tests.patience import GIVE_UP_S

PATH = "/v1/chat/completions"


def chunk(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"


def streaming(
    *pieces: bytes, then: Callable[[], Awaitable[None]] | None = None
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream", "x-request-id": "req-chat"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        if then is not None:
            await then()
        return response

    return handler


DONE = b"data: [DONE]\n\n"


def test_an_answer_is_written_as_it_comes(api: ScriptedApi, quarterdeck: CommandLine):
    go_on = threading.Event()

    async def wait() -> None:
        await asyncio.to_thread(go_on.wait, 10)

    api.next_answers("POST", PATH, streaming(chunk("Hel"), chunk("lo"), then=wait))
    process = quarterdeck.start("chat", "smollm2", "Say hello.", "--max-tokens", "5", "--system", "Be brief.")
    assert process.stdout is not None
    assert process.stdout.read(5) == "Hello"
    assert process.poll() is None
    go_on.set()
    (request,) = api.sent("POST", PATH)
    assert request.body == {
        "model": "smollm2", "max_tokens": 5, "stream": True,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello."}],
    }  # fmt: skip


def test_the_end_of_an_answer(api: ScriptedApi, quarterdeck: CommandLine):
    usage = b'data: {"choices": [], "usage": {"total_tokens": 3}}\n\n'
    api.next_answers("POST", PATH, streaming(chunk("Hello é\n"), usage, DONE))
    ran = quarterdeck.run("chat", "m", "hi")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "Hello é\n", "")


def test_the_prompt_may_come_from_a_pipe(api: ScriptedApi, quarterdeck: CommandLine):
    api.next_answers("POST", PATH, streaming(chunk("ok"), DONE))
    assert quarterdeck.run("chat", "m", stdin="from a file").stdout == "ok\n"
    assert api.sent("POST", PATH)[0].body["messages"][0]["content"] == "from a file"


def test_ctrl_c_stops_the_generation(api: ScriptedApi, quarterdeck: CommandLine):
    disconnected = threading.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            while True:
                await response.write(chunk("on and "))
                await asyncio.sleep(0.02)
        except (ConnectionError, asyncio.CancelledError):
            disconnected.set()
            raise

    api.next_answers("POST", PATH, endless)
    process = quarterdeck.start("chat", "m", "hi")
    assert process.stdout is not None
    process.stdout.read(10)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=GIVE_UP_S)
    assert (process.returncode, err) == (130, "")
    assert disconnected.wait(GIVE_UP_S)


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ([chunk("half an ans")], "STREAM_INTERRUPTED"),
        ([chunk("x"), b'data: {"error": {"message": "worker lost", "code": "upstream_lost"}}\n\n'], "upstream_lost"),
        ([b"data: not json\n\n"], "BAD_STREAM"),
    ],
)
def test_an_answer_that_breaks_off_is_a_failure(
    api: ScriptedApi, quarterdeck: CommandLine, pieces: list[bytes], code: str
):
    api.next_answers("POST", PATH, streaming(*pieces))
    ran = quarterdeck.run("chat", "m", "hi")
    assert ran.returncode == 1
    assert code in ran.stderr
    assert "req-chat" in ran.stderr


def test_a_model_cannot_drive_the_terminal(api: ScriptedApi, quarterdeck: CommandLine):
    api.next_answers("POST", PATH, streaming(chunk("\x1b[2J"), chunk("\x1b]0;x\x07tab\there\n"), DONE))
    assert quarterdeck.run("chat", "m", "hi").stdout == "[2J]0;xtab\there\n"


def test_json_is_the_whole_answer(api: ScriptedApi, quarterdeck: CommandLine):
    answer = {"object": "chat.completion", "choices": [{"message": {"content": "ok"}}], "usage": {"total_tokens": 2}}

    async def whole(_: web.Request) -> web.Response:
        return web.json_response(answer)

    api.next_answers("POST", PATH, whole)
    ran = quarterdeck.run("chat", "m", "hi", "--json")
    assert json.loads(ran.stdout) == answer
    assert "stream" not in api.sent("POST", PATH)[0].body


def test_no_ready_instance(api: ScriptedApi, quarterdeck: CommandLine):
    async def none(_: web.Request) -> web.Response:
        error = {"message": "no instance serves m", "type": "server_error", "param": None, "code": "no_ready_worker"}
        return web.json_response({"error": error}, status=503, headers={"retry-after": "5"})

    api.next_answers("POST", PATH, none)
    ran = quarterdeck.run("chat", "m", "hi")
    assert (ran.returncode, "no_ready_worker" in ran.stderr) == (1, True)
    assert len(api.sent("POST", PATH)) == 1
