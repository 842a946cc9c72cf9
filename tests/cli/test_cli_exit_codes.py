"""Refusals: each has its exit code, and tells its code, message and request id."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from tests.cli.command_line import CommandLine
from tests.cli.scripted_api import API_KEY, ScriptedApi

STATUSES = {400: 2, 401: 4, 402: 6, 403: 4, 404: 3, 409: 5, 413: 2, 415: 2, 422: 2, 429: 1, 500: 1, 502: 1, 503: 1}


@pytest.mark.parametrize(("status", "exit_code"), STATUSES.items())
def test_a_refused_order(api: ScriptedApi, quarterdeck: CommandLine, status: int, exit_code: int):
    api.refuse("POST", "/deployments", status, "SOME_CODE", "this is why", details={"field": "zone"})
    ran = quarterdeck.run("deploy", "m", "--wait")
    assert ran.returncode == exit_code
    for told in ("SOME_CODE", "this is why", "req-1234", f"HTTP {status}", '{"field": "zone"}'):
        assert told in ran.stderr
    assert ran.stdout == ""


def test_a_refusal_is_said_in_the_language_of_the_person(api: ScriptedApi, quarterdeck: CommandLine):
    api.refuse("POST", "/deployments", 402, "BUDGET_EXCEEDED", "0.20 EUR are left")
    ran = quarterdeck.run("deploy", "m", LANG="fr_FR.UTF-8")
    assert ran.stderr.splitlines()[:2] == ["Error: le budget ne le permet pas", "  0.20 EUR are left"]
    assert "code BUDGET_EXCEEDED" in ran.stderr
    api.refuse("POST", "/deployments", 402, "OF_A_NEWER_SERVER", "told by it")
    assert quarterdeck.run("deploy", "m", LANG="fr_FR.UTF-8").stderr.startswith("Error: told by it\n")


def test_with_json_the_error_is_one_line_of_json(api: ScriptedApi, quarterdeck: CommandLine):
    api.refuse("POST", "/deployments", 402, "BUDGET_EXCEEDED", "the budget is spent", details={"left_eur": 0})
    ran = quarterdeck.run("deploy", "m", "--json")
    assert ran.stdout == ""
    assert json.loads(ran.stderr) == {
        "error": "the budget is spent", "code": "BUDGET_EXCEEDED", "status": 402, "request_id": "req-1234",
        "operation_id": None, "details": {"left_eur": 0}, "exit_code": 6,
    }  # fmt: skip


def test_the_error_of_the_inference_surface(api: ScriptedApi, quarterdeck: CommandLine):
    async def not_found(_: web.Request) -> web.Response:
        error = {
            "message": "no such model",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
        return web.json_response({"error": error}, status=404, headers={"x-request-id": "req-v1"})

    api.next_answers("POST", "/v1/chat/completions", not_found)
    ran = quarterdeck.run("chat", "ghost", "hello")
    assert ran.returncode == 3
    for told in ("no such model", "model_not_found", "req-v1"):
        assert told in ran.stderr


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>502 Bad Gateway</html>", b"null", b"[1]", b'"text"', b'{"error": 5, "code": []}', b"\xff\xfe{"],
)
def test_a_body_that_says_nothing(api: ScriptedApi, quarterdeck: CommandLine, body: bytes):
    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=502, body=body, headers={"x-request-id": "req-edge"})

    api.next_answers("GET", "/models", broken)
    ran = quarterdeck.run("models")
    assert ran.returncode == 1
    assert "HTTP_502" in ran.stderr
    assert "req-edge" in ran.stderr


def test_a_redirect_is_not_followed_with_the_key(api: ScriptedApi, quarterdeck: CommandLine):
    async def elsewhere(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"location": f"{api.url}/auth/me"})

    api.next_answers("GET", "/models", elsewhere)
    assert quarterdeck.run("models").returncode == 1
    assert not api.sent("GET", "/auth/me")


def test_a_key_that_is_not_valid(quarterdeck: CommandLine):
    ran = quarterdeck.run("models", QUARTERDECK_API_KEY="sk-qd-" + "00" * 32)
    assert ran.returncode == 4
    assert "sk-qd-" not in ran.stderr


def test_no_key_at_all(quarterdeck: CommandLine):
    ran = quarterdeck.run("models", QUARTERDECK_API_KEY="", QUARTERDECK_API_URL="")
    assert (ran.returncode, "quarterdeck up" in ran.stderr) == (4, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"], ["deploy"], ["instances", "--no-such-option"], ["instances", "--status", "happy"],
        ["logs", "--limit", "0"], ["operations", "--limit", "x"], ["instance", "not-an-id"], ["instance", "../models"],
        ["models", "--api-url", "nonsense"], ["deploy", "m", "--timeout", "-1"], ["chat", "m", " "],
    ],
)  # fmt: skip
def test_wrong_usage(api: ScriptedApi, quarterdeck: CommandLine, arguments: list[str]):
    ran = quarterdeck.run(*arguments)
    assert ran.returncode == 2, ran.stderr
    assert not api.received


@pytest.mark.parametrize(
    "arguments",
    [["no-such-command"], ["deploy"], ["instances", "--no-such-option"], ["instances", "--status", "happy"],
     ["operations", "--limit", "x"], ["deploy", "m", "--idempotency-key", ""], ["chat", "\udcff"]],
)  # fmt: skip
def test_wrong_usage_with_json_is_one_line_of_json(api: ScriptedApi, quarterdeck: CommandLine, arguments: list[str]):
    ran = quarterdeck.run(*arguments, "--json")
    assert (ran.returncode, ran.stdout) == (2, "")
    told = json.loads(ran.stderr)
    assert (ran.stderr.count("\n"), told["code"], told["exit_code"]) == (1, "USAGE", 2)
    assert told["error"]
    assert not api.received


@pytest.mark.parametrize("code", ["INVALID_MODEL", "UNKNOWN_PROVIDER", "INVALID_ZONE", "INVALID_INSTANCE_TYPE"])
def test_an_order_for_what_does_not_exist_is_not_found(api: ScriptedApi, quarterdeck: CommandLine, code: str):
    api.refuse("POST", "/deployments", 400, code, "there is no such thing")
    assert quarterdeck.run("deploy", "m").returncode == 3


def test_text_of_the_api_cannot_drive_the_terminal(api: ScriptedApi, quarterdeck: CommandLine):
    api.refuse("GET", "/models", 500, "INTERNAL", "\x1b]0;owned\x07\x1b[2Jbroken", details={"x": "\x1b[31m"})
    ran = quarterdeck.run("models")
    assert "\x1b" not in ran.stderr
    assert "broken" in ran.stderr


def test_a_refused_order_that_is_kept_is_named(api: ScriptedApi, quarterdeck: CommandLine):
    instance_id = api.add_instance(status="provisioning_failed")

    async def kept(_: web.Request) -> web.Response:
        body = {"status": "failed", "instance_id": instance_id, "code": "INVALID_MODEL", "error": "no such model"}
        return web.json_response(body, status=400)

    api.next_answers("POST", "/deployments", kept)
    ran = quarterdeck.run("deploy", "ghost")
    assert ran.returncode == 3
    assert instance_id in ran.stderr


def test_nothing_prints_the_key(api: ScriptedApi, quarterdeck: CommandLine):
    for arguments in (
        ["whoami"],
        ["whoami", "--json"],
        ["models"],
        ["instances"],
        ["operations"],
        ["logs"],
        ["--help"],
    ):
        ran = quarterdeck.run(*arguments)
        assert ran.returncode == 0, ran.stderr
        assert API_KEY not in ran.stdout + ran.stderr
