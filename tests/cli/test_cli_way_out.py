"""The command and an API elsewhere: proxies and authorities of the environment. `deck.example` is nowhere but behind a proxy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli.command_line import ROOT, CommandLine, environment
from tests.cli.scripted_api import API_KEY, ScriptedApi
from tests.patience import GIVE_UP_S
from tests.proxy import SECRET, USER, recording_proxy
from tests.tls_server import serving_tls
from workers.embedded.ports import free_port

ELSEWHERE = "http://deck.example:8000"
ELSEWHERE_TLS = "https://deck.example"


@pytest.fixture
def outward(tmp_path: Path) -> CommandLine:
    """The command with an API elsewhere and nobody in between."""
    return CommandLine(tmp_path, {"QUARTERDECK_API_URL": ELSEWHERE_TLS, "QUARTERDECK_API_KEY": API_KEY})


def address_of(api: ScriptedApi) -> tuple[str, int]:
    parts = urlsplit(api.url)
    return str(parts.hostname), int(parts.port or 0)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_an_api_elsewhere_is_asked_through_the_proxy(api: ScriptedApi, quarterdeck: CommandLine, variable: str):
    with recording_proxy(address_of(api)) as proxy:
        ran = quarterdeck.run("whoami", QUARTERDECK_API_URL=ELSEWHERE, **{variable: proxy.url})
        assert ran.returncode == 0, ran.stderr
        assert proxy.asked == [f"GET {ELSEWHERE}/auth/me"]
        assert proxy.credentials == {f"{USER}:{SECRET}"}
    assert "admin@quarterdeck.local" in ran.stdout


def test_with_tls_the_proxy_learns_the_host_alone(outward: CommandLine):
    with recording_proxy(refusal=403) as proxy:
        ran = outward.run("whoami", HTTPS_PROXY=proxy.url, HTTP_PROXY="http://127.0.0.1:9")
        assert proxy.asked == ["CONNECT deck.example:443"]
    assert ran.returncode == 1
    assert f"the proxy of HTTPS_PROXY, http://127.0.0.1:{proxy.port}, refused (403)" in ran.stderr
    assert SECRET not in ran.stderr


def test_a_host_in_no_proxy_and_this_machine_are_asked_directly(api: ScriptedApi, quarterdeck: CommandLine):
    with recording_proxy() as proxy:
        given = {"HTTP_PROXY": proxy.url, "ALL_PROXY": proxy.url}
        assert quarterdeck.run("whoami", **given).returncode == 0
        port = free_port()
        ran = quarterdeck.run("whoami", QUARTERDECK_API_URL=f"http://0.0.0.0:{port}", NO_PROXY="x", **given)
        assert "no connection" in ran.stderr
        assert proxy.asked == []


def test_a_proxy_that_is_away_is_one_line_and_nothing_is_waited_for(outward: CommandLine):
    port = free_port()
    for url, variable in ((ELSEWHERE, "HTTP_PROXY"), (ELSEWHERE_TLS, "HTTPS_PROXY")):
        ran = outward.run("models", QUARTERDECK_API_URL=url, **{variable: f"http://{USER}:{SECRET}@127.0.0.1:{port}"})
        assert ran.returncode == 1
        said = f"the API at {url} cannot be reached: the proxy of {variable}, http://127.0.0.1:{port}, does not answer"
        assert said in ran.stderr
        assert "NO_PROXY" in ran.stderr
        assert SECRET not in ran.stderr
        assert "Waiting for" not in ran.stderr


def test_a_proxy_that_wants_other_credentials_says_so_in_clear_text_too(outward: CommandLine):
    with recording_proxy(refusal=407) as proxy:
        ran = outward.run("whoami", QUARTERDECK_API_URL=ELSEWHERE, HTTP_PROXY=proxy.url)
    assert ran.returncode == 1
    assert f"the proxy of HTTP_PROXY, http://127.0.0.1:{proxy.port}, refused (407)" in ran.stderr
    assert SECRET not in ran.stderr


def test_what_a_proxy_answers_in_place_of_the_api_is_told_with_its_name(outward: CommandLine):
    with recording_proxy(refusal=502) as proxy:
        ran = outward.run("whoami", QUARTERDECK_API_URL=ELSEWHERE, HTTP_PROXY=proxy.url)
    assert ran.returncode == 1
    assert f"through the proxy of HTTP_PROXY, http://127.0.0.1:{proxy.port}" in ran.stderr


@pytest.mark.parametrize(
    "value", [f"socks5://{USER}:{SECRET}@127.0.0.1:9", f"socks5h://{SECRET}:9", f"nonsense://{SECRET}"]
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_proxy_that_cannot_be_used_is_one_line(outward: CommandLine, value: str, *, as_json: bool):
    ran = outward.run("whoami", *(["--json"] if as_json else []), ALL_PROXY=value)
    assert ran.returncode == 2
    assert "ALL_PROXY" in ran.stderr
    assert SECRET not in ran.stderr
    if as_json:
        assert json.loads(ran.stderr)["code"] == "BAD_PROXY"


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
@pytest.mark.parametrize("is_there", [False, True])
def test_authorities_that_cannot_be_read_are_one_line(
    outward: CommandLine, tmp_path: Path, variable: str, *, is_there: bool
):
    named = tmp_path / "authorities.pem"
    if is_there:
        named.write_text("no certificate")
    ran = outward.run("whoami", **{variable: str(named)})
    assert ran.returncode == 2
    assert variable in ran.stderr
    assert "BAD_CERTIFICATES" in ran.stderr


@pytest.mark.parametrize(
    "variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSLKEYLOGFILE"]
)
def test_without_tls_nobody_asks_for_authorities(api: ScriptedApi, quarterdeck: CommandLine, variable: str):
    ran = quarterdeck.run("whoami", **{variable: "/nowhere/at/all.pem"})
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSLKEYLOGFILE"])
def test_authorities_of_other_programs_are_not_looked_at(outward: CommandLine, variable: str):
    with recording_proxy(refusal=403) as proxy:
        ran = outward.run("whoami", HTTPS_PROXY=proxy.url, **{variable: "/nowhere/at/all.pem"})
        assert proxy.asked
    assert (ran.returncode, "refused (403)" in ran.stderr) == (1, True)


def test_an_api_whose_certificate_nobody_vouches_for_is_told_so(outward: CommandLine, tmp_path: Path):
    with serving_tls(tmp_path) as server, recording_proxy(server.address) as proxy:
        ran = outward.run("whoami", HTTPS_PROXY=proxy.url)
        assert ran.returncode == 1
        assert "its certificate is not trusted" in ran.stderr
        assert "SSL_CERT_FILE" in ran.stderr
        trusting = outward.run("whoami", HTTPS_PROXY=proxy.url, SSL_CERT_FILE=str(server.authorities))
        assert "its certificate is not trusted" not in trusting.stderr
        assert server.asked == ["GET /auth/me"]


def test_a_password_of_a_netrc_file_does_not_take_the_place_of_the_key(api: ScriptedApi, quarterdeck: CommandLine):
    netrc = quarterdeck.home / ".netrc"
    netrc.write_text("machine deck.example login me password theirs\ndefault login me password theirs\n")
    netrc.chmod(0o600)
    with recording_proxy(address_of(api)) as proxy:
        ran = quarterdeck.run("whoami", QUARTERDECK_API_URL=ELSEWHERE, HTTP_PROXY=proxy.url)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PYTHONWARNINGS", "error"),
        ("PYTHONOPTIMIZE", "2"),
        ("PYTHONASYNCIODEBUG", "1"),
        ("PYTHONDEVMODE", "1"),
        ("PYTHONIOENCODING", "ascii"),
        ("LC_ALL", "C"),
        ("TMPDIR", "/nowhere"),
        ("COLUMNS", "0"),
        ("COLUMNS", "many"),
        ("LINES", "-1"),
        ("TERM", "nonsense"),
        ("NO_COLOR", "1"),
        ("FORCE_COLOR", "1"),
        ("AWS_PROFILE", "nobody"),
        ("DD_API_KEY", "x"),
        ("TEMPORAL_ADDRESS", "192.0.2.1:7233"),
    ],
)
def test_what_the_command_does_not_depend_on(api: ScriptedApi, quarterdeck: CommandLine, variable: str, value: str):
    api.add_instance(status="ready")
    for command in (["whoami"], ["instances"]):
        ran = quarterdeck.run(*command, **{variable: value})
        assert (ran.returncode, ran.stderr.count("Warning")) == (0, 0), ran.stderr


def test_a_models_package_of_another_project_is_not_ours(api: ScriptedApi, quarterdeck: CommandLine, tmp_path: Path):
    for package in ("models", "workers", "api", "httpx", "typer"):
        (tmp_path / "project" / package).mkdir(parents=True)
        (tmp_path / "project" / package / "__init__.py").write_text("raise SystemExit('the wrong package')")
    python_path = f"{tmp_path / 'project'}:{ROOT}"
    assert quarterdeck.run("whoami", PYTHONPATH=python_path).returncode == 0
    handed_over = quarterdeck.run("status", "--json", PYTHONPATH=python_path)
    assert "the wrong package" not in handed_over.stderr
    assert json.loads(handed_over.stdout or handed_over.stderr)


def test_the_documented_commands(tmp_path: Path):
    chapter = (ROOT / "docs" / "operating.md").read_text().partition("\n## Behind a proxy\n")[2].partition("\n## ")[0]
    commands = chapter.split("```")[1]
    with serving_tls(tmp_path) as server, recording_proxy(server.address) as proxy:
        commands = commands.replace("http://user:password@proxy.example:3128", proxy.url)
        assert proxy.url in commands
        env = environment(tmp_path, {"QUARTERDECK_API_KEY": API_KEY, "SSL_CERT_FILE": str(server.authorities)})
        env |= {f"QUARTERDECK_{name}": str(free_port()) for name in ("API_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT")}
        ran = subprocess.run(
            ["bash", "-uc", f'quarterdeck() {{ "{sys.executable}" -m cli "$@"; }}\n{commands}'], env=env, cwd=tmp_path,
            capture_output=True, text=True, timeout=GIVE_UP_S, check=False,
        )  # fmt: skip
        assert proxy.asked == ["CONNECT deck.example:443"]
        assert proxy.credentials == {f"{USER}:{SECRET}"}
        assert server.asked == ["GET /auth/me"]
    assert "certificates: those of SSL_CERT_FILE" in ran.stdout
    assert ran.returncode == 4, ran.stderr  # what stands there knows no key
