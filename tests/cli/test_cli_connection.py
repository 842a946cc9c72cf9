"""Where the command connects, and which key it sends there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from aiohttp import web

from cli.connection import DEFAULT_URL, locate
from cli.failures import CommandFailed, ExitCode
from tests.cli.command_line import CommandLine
from tests.cli.scripted_api import API_KEY, ScriptedApi
from tests.needs import need

FILE_KEY = "sk-qd-" + "f1" * 32


def private(file: Path, text: str) -> Path:
    file.touch(mode=0o600)
    file.write_text(text)
    return file


def home_with(tmp_path: Path, **admin: object) -> dict[str, str]:
    private(tmp_path / "admin.json", json.dumps(admin))
    return {"QUARTERDECK_HOME": str(tmp_path)}


def test_the_admin_file_gives_address_and_key(tmp_path: Path):
    found = locate(None, home_with(tmp_path, api_url="http://127.0.0.1:8123/", api_key=FILE_KEY))
    assert (found.url, found.key) == ("http://127.0.0.1:8123", FILE_KEY)
    assert found.key_source.endswith("admin.json")


def test_the_environment_precedes_the_admin_file(tmp_path: Path):
    environ = home_with(tmp_path, api_url="http://127.0.0.1:8123", api_key=FILE_KEY) | {"QUARTERDECK_API_KEY": API_KEY}
    found = locate("https://deck.example", environ)
    assert (found.url, found.key, found.key_source) == ("https://deck.example", API_KEY, "QUARTERDECK_API_KEY")


def test_a_key_alone_means_the_default_address(tmp_path: Path):
    assert locate(None, {"QUARTERDECK_HOME": str(tmp_path), "QUARTERDECK_API_KEY": API_KEY}).url == DEFAULT_URL


def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder that somebody else prepared."""
    folder = tmp_path / ".quarterdeck"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    return private(folder / "admin.json", json.dumps({"api_url": "http://127.0.0.1:6666", "api_key": FILE_KEY}))


def test_the_current_folder_does_not_say_where_a_key_of_the_environment_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    planted(tmp_path, monkeypatch)
    found = locate(None, {"QUARTERDECK_API_KEY": API_KEY})
    assert (found.url, found.key) == (DEFAULT_URL, API_KEY)


def test_a_broken_file_of_the_current_folder_does_not_stop_who_brings_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    planted(tmp_path, monkeypatch).write_text("{")
    assert locate("http://127.0.0.1:8000", {"QUARTERDECK_API_KEY": API_KEY}).url == "http://127.0.0.1:8000"


def test_a_chosen_home_says_where_a_key_of_the_environment_goes(tmp_path: Path):
    environ = home_with(tmp_path, api_url="http://127.0.0.1:8123") | {"QUARTERDECK_API_KEY": API_KEY}
    assert locate(None, environ).url == "http://127.0.0.1:8123"


@pytest.mark.parametrize("mode", [0o666, 0o602, 0o620, 0o644, 0o640])
def test_a_file_that_others_can_write_or_read_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
):
    file = planted(tmp_path, monkeypatch)
    file.chmod(mode)
    for environ in ({}, {"QUARTERDECK_HOME": str(file.parent)}):
        with pytest.raises(CommandFailed) as refused:
            locate(None, environ)
        assert (refused.value.code, refused.value.exit_code) == ("BAD_ADMIN_FILE", ExitCode.AUTH)
        assert FILE_KEY not in str(refused.value)


def test_a_file_of_another_user_is_not_trusted_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    need(present=os.geteuid() == 0, what="root", install="run the tests as root")
    file = planted(tmp_path, monkeypatch)
    os.chown(file, 65_534, -1)
    for environ in ({}, {"QUARTERDECK_HOME": str(file.parent)}):
        with pytest.raises(CommandFailed) as refused:
            locate(None, environ)
        assert "another user" in str(refused.value)
        assert (refused.value.code, refused.value.exit_code) == ("BAD_ADMIN_FILE", ExitCode.AUTH)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_takes_no_key_elsewhere(api: ScriptedApi, quarterdeck: CommandLine, status: int):
    async def away(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"location": f"http://127.0.0.1:{request.url.port}/elsewhere"})

    api.next_answers("GET", "/models", away)
    assert quarterdeck.run("models").returncode != 0
    assert not api.sent("GET", "/elsewhere")


@pytest.mark.parametrize(
    "elsewhere", ["https://deck.example", "http://127.0.0.1:9999", "https://127.0.0.1:8123", "http://10.0.0.1:8123"]
)
def test_the_key_of_the_admin_file_goes_to_no_other_api(tmp_path: Path, elsewhere: str):
    environ = home_with(tmp_path, api_url="http://127.0.0.1:8123", api_key=FILE_KEY)
    with pytest.raises(CommandFailed) as refused:
        locate(elsewhere, environ)
    assert refused.value.exit_code is ExitCode.AUTH
    assert FILE_KEY not in str(refused.value)


def test_names_of_this_machine_are_the_same_api(tmp_path: Path):
    environ = home_with(tmp_path, api_url="http://127.0.0.1:8123", api_key=FILE_KEY)
    assert locate("http://localhost:8123", environ).key == FILE_KEY


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "ftp://host",
        "http://",
        "http://[::1",
        "http://host:99999",
        "http://user:pw@host",
        "http://h/?k=v",
    ],
)
def test_an_address_that_is_none_is_wrong_usage(tmp_path: Path, url: str):
    with pytest.raises(CommandFailed) as refused:
        locate(url, {"QUARTERDECK_HOME": str(tmp_path), "QUARTERDECK_API_KEY": API_KEY})
    assert refused.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize("content", ["", "[]", "{", "\x00", "42"])
def test_a_broken_admin_file_is_one_clear_line(tmp_path: Path, content: str):
    private(tmp_path / "admin.json", content)
    with pytest.raises(CommandFailed) as refused:
        locate(None, {"QUARTERDECK_HOME": str(tmp_path)})
    assert (refused.value.exit_code, refused.value.code) == (ExitCode.USAGE, "BAD_ADMIN_FILE")


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "clé", "\x1b[31m"])
def test_a_key_that_is_none_is_not_repeated(tmp_path: Path, key: str):
    with pytest.raises(CommandFailed) as refused:
        locate(None, {"QUARTERDECK_HOME": str(tmp_path), "QUARTERDECK_API_KEY": key})
    assert refused.value.exit_code is ExitCode.AUTH
    assert key not in str(refused.value)


def test_no_repr_holds_the_key(tmp_path: Path):
    found = locate(None, {"QUARTERDECK_HOME": str(tmp_path), "QUARTERDECK_API_KEY": API_KEY})
    assert API_KEY not in repr(found)


def test_a_proxy_of_the_environment_never_sees_a_call_to_this_machine(api: ScriptedApi, quarterdeck: CommandLine):
    ran = quarterdeck.run("whoami", HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9")
    assert ran.returncode == 0, ran.stderr
    assert api.sent("GET", "/auth/me")


def test_whoami_says_where_the_key_is_from_and_not_what_it_is(quarterdeck: CommandLine):
    ran = quarterdeck.run("whoami")
    assert "admin@quarterdeck.local" in ran.stdout
    assert "QUARTERDECK_API_KEY" in ran.stdout
    assert API_KEY[:12] not in ran.stdout + ran.stderr


def test_an_api_that_is_not_there(api: ScriptedApi, quarterdeck: CommandLine):
    api.stop()
    ran = quarterdeck.run("models")
    assert ran.returncode == 1
    assert api.url in ran.stderr
    assert "API_UNREACHABLE" in ran.stderr
    assert "Is `quarterdeck up` running?" in ran.stderr


def test_another_server_at_that_address(api: ScriptedApi, quarterdeck: CommandLine):
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<h1>Hello</h1>", content_type="text/html")

    async def other_json(_: web.Request) -> web.Response:
        return web.json_response({"hello": "world"})

    api.next_answers("GET", "/models", page, other_json)
    for _ in range(2):
        ran = quarterdeck.run("models")
        assert (ran.returncode, "NOT_THE_API" in ran.stderr) == (1, True)
