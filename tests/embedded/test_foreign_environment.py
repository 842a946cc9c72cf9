"""`quarterdeck up` and what its environment holds for others: all of it hostile at once, and what `doctor` names of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from models.base.foreign_variables import GROUPS, Fate, Group, fate_of
from models.settings import Settings
from models.settings.derived import admin_url
from tests.cli.command_line import ROOT
from tests.embedded.driver import PARTS, TIMEOUT_S, Up, command, environment, forget
from tests.needs import need
from tests.proxy import SECRET, USER, RecordingProxy, recording_proxy
from tests.servers import TestDatabase
from workers.embedded import foreign_environment
from workers.embedded.finding import Finding
from workers.embedded.fleet.instances import end_instances, served_instances
from workers.embedded.ports import free_port

NOWHERE = "/nowhere/at/all"
WHO_IMPORTED = """
import os, sys
with open(os.environ["WHO_IMPORTED"], "a") as file:
    print(*sys.orig_argv[1:], file=file)
"""
MODEL = "smollm2-135m-instruct"
SIMULATED = "mock-echo-model"


def hostile(proxy: str, folder: Path) -> dict[str, str]:
    """Whatever can be wrong at once, for everybody who might read it."""
    return {
        **dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), proxy),
        **dict.fromkeys(("ALL_PROXY", "all_proxy"), f"socks5://{USER}:{SECRET}@127.0.0.1:9"),
        "NO_PROXY": "", "no_proxy": "intranet.example",
        **dict.fromkeys(("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSLKEYLOGFILE"), NOWHERE),
        "PGHOST": "db.invalid", "PGHOSTADDR": "192.0.2.1", "PGPORT": "1", "PGDATABASE": "x", "PGUSER": "x", "PGPASSWORD": "x",
        "PGSERVICE": "nowhere", "PGSERVICEFILE": NOWHERE, "PGPASSFILE": NOWHERE, "PGDATA": NOWHERE,
        "PGOPTIONS": "-c statement_timeout=1 -c search_path=nowhere", "PGDATESTYLE": "SQL, DMY", "PGTZ": "Asia/Kathmandu",
        "PGCLIENTENCODING": "LATIN1", "PGGEQO": "nonsense", "PGAPPNAME": "x", "PGCONNECT_TIMEOUT": "nonsense",
        "PGSSLMODE": "verify-full", "PGSSLROOTCERT": NOWHERE, "PGSSLCERT": NOWHERE, "PGREQUIREAUTH": "none",
        "PGCHANNELBINDING": "require", "PGGSSENCMODE": "require", "PGTARGETSESSIONATTRS": "read-only",
        "PGLOADBALANCEHOSTS": "nonsense", "PSYCOPG_IMPL": "nonsense",
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2",
        "PYTHONASYNCIODEBUG": "1", "PYTHONIOENCODING": "ascii", "PYTHONSTARTUP": NOWHERE, "PYTHONUSERBASE": NOWHERE,
        "PYTHONUNBUFFERED": "1", "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), NOWHERE),
        "LC_ALL": "C", "LANG": "tr_TR.UTF-8", "LANGUAGE": "tr", "TZ": "Asia/Kathmandu",
        "TEMPORAL_ADDRESS": "192.0.2.1:7233", "TEMPORAL_NAMESPACE": "x", "TEMPORAL_CONFIG_FILE": NOWHERE, "TEMPORAL_PROFILE": "x",
        "TEMPORAL_TLS": "true", "TEMPORAL_DEBUG": "1", "TEMPORAL_API_KEY": "x", "TEMPORAL_MAX_INCOMING_GRPC_BYTES": "1",
        "AWS_PROFILE": "x", "AWS_ENDPOINT_URL": "http://192.0.2.1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": SECRET,
        "DD_API_KEY": SECRET, "DD_TRACE_ENABLED": "true", "DATADOG_API_KEY": SECRET, "OVH_ENDPOINT": "x",
        "BOTO_CONFIG": NOWHERE, "WEBSOCKETS_MAX_LINE_LENGTH": "1", "WEBSOCKETS_USER_AGENT": SECRET,
        "UVICORN_PORT": "1", "FORWARDED_ALLOW_IPS": "*", "WEB_CONCURRENCY": "many", "PORT": "1", "HOST": "192.0.2.1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://192.0.2.1", "OTEL_PROPAGATORS": "nonsense", "OTEL_PYTHON_CONTEXT": "nonsense",
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python", "GIT_DIR": NOWHERE, "MALLOC_ARENA_MAX": "1",
        "GLIBC_TUNABLES": "glibc.malloc.arena_max=1", "LD_BIND_NOW": "1",
        "COLUMNS": "0", "LINES": "0", "NO_COLOR": "1", "TERM": "nonsense",
        "WHO_IMPORTED": str(folder / "who-imported.txt"),
    }  # fmt: skip


ELSEWHERE = {
    "NOTIFY_SOCKET": "tests/embedded/test_signals_and_pipes.py",
    "FORCE_COLOR": "NO_COLOR is its opposite",
    "PGKRBSRVNAME": "of an authentication that the embedded server does not ask for", "PGREQUIREPEER": "as above",
    "PGREQUIRESSL": "an older name of PGSSLMODE", "PGSYSCONFDIR": "where PGSERVICEFILE would be",
}  # fmt: skip


def test_everything_that_the_table_names_is_wrong_at_once() -> None:
    given = hostile("http://proxy.invalid", Path("/project"))
    missing = {
        one
        for group in GROUPS
        for one in group.names
        if not any(Group((one,), group.fate, "").holds(name) for name in given)
    }
    assert missing == ELSEWHERE.keys()


def project_of_others(folder: Path) -> Path:
    """A folder of `PYTHONPATH` in which packages are called like ours."""
    ours = ("models", "workers", "api", "workflows", "activities", "delivery", "node", "simcloud")
    for package in (*ours, "httpx", "psycopg"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text("raise SystemExit('the wrong package')")
    (folder / "sitecustomize.py").write_text(WHO_IMPORTED)
    return folder


@contextmanager
def really_up(home: Path, env: Mapping[str, str]) -> Iterator[Up]:
    """As a person starts it, with our own programs."""
    output = home.with_name("output.txt")
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "up"], env=dict(env), cwd=home.parent, stdout=file, stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        )  # fmt: skip
    run = Up(home, env, process, output)
    try:
        yield run
    finally:
        end_instances(home / "instances")
        process.terminate()
        process.wait(TIMEOUT_S)
        forget(home)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Up, RecordingProxy]]:
    """A running installation in the worst of environments, and the proxy that nothing of it may call."""
    folder = tmp_path_factory.mktemp("hostile")
    home = folder / "home"
    with recording_proxy() as proxy:
        env = {**environment(home), **hostile(proxy.url, project_of_others(folder / "project"))}
        with really_up(home, env) as run:
            run.wait_until_ready()
            yield run, proxy


def quarterdeck(run: Up, *arguments: str) -> str:
    """What the command prints, in that environment."""
    ran = subprocess.run(
        [sys.executable, "-m", "cli", *arguments], env=dict(run.env), cwd=run.home.parent, capture_output=True, text=True,
        timeout=2 * TIMEOUT_S, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert SECRET not in ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize(("provider", "model"), [("mock", SIMULATED), ("local", MODEL)])
def test_an_instance_is_deployed_serves_and_ends(world: tuple[Up, RecordingProxy], provider: str, model: str) -> None:
    run, proxy = world
    deployed = json.loads(quarterdeck(run, "deploy", model, "--provider", provider, "--wait", "--json"))
    instance = deployed["instance_id"]
    assert quarterdeck(run, "chat", model, "Hello", "--max-tokens", "8").strip()
    agents = served_instances(run.home / "instances")
    assert len(agents) == (1 if provider == "local" else 0)
    for agent in agents:
        seen = psutil.Process(agent.pid).environ()
        assert seen["PYTHONPATH"] == str(ROOT)
        assert {name for name in seen if fate_of(name) is not Fate.PASSED} <= {
            "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
            "SSL_CERT_FILE", "SSL_CERT_DIR", "PYTHONPATH",
        }  # fmt: skip
    quarterdeck(run, "terminate", instance, "--yes", "--wait")
    assert proxy.asked == []


def test_no_part_sees_what_is_removed(world: tuple[Up, RecordingProxy]) -> None:
    run, proxy = world
    assert json.loads(quarterdeck(run, "status", "--json"))["running"]
    removed = {Fate.REMOVED, Fate.OWN_DATABASE}
    for name in PARTS:
        seen = psutil.Process(run.pids()[name]).environ()
        ours = {"PYTHONPATH": str(ROOT)} if name not in {"postgres", "temporal"} else {}
        kept = {variable: value for variable, value in seen.items() if fate_of(variable) in removed}
        assert kept.pop("PGTZ", "UTC") == "UTC"  # of the server's own
        assert kept == ours, name
    assert proxy.asked == []


def test_nothing_of_others_was_imported_by_what_was_handed_over_to(world: tuple[Up, RecordingProxy]) -> None:
    """The command itself begins as a Python that has read `PYTHONPATH`; the programs after it have not."""
    run, _ = world
    who = Path(run.env["WHO_IMPORTED"]).read_text().splitlines()
    assert who
    assert [line for line in who if not line.startswith("-m cli ")] == []


def test_what_is_stored_is_as_ever(world: tuple[Up, RecordingProxy]) -> None:
    run, _ = world
    with psycopg.connect(admin_url(Settings(home=run.home))) as connection:
        row = connection.execute(
            "SELECT current_setting('DateStyle'), current_setting('TimeZone'), current_setting('client_encoding')"
        ).fetchone()
        others = connection.execute(
            "SELECT DISTINCT application_name FROM pg_stat_activity WHERE usename LIKE 'quarterdeck_%'"
        ).fetchall()
    assert row == ("ISO, MDY", "UTC", "UTF8")
    assert others
    assert all(name.startswith("quarterdeck") for (name,) in others)


def test_doctor_names_what_would_keep_calls_from_working(world: tuple[Up, RecordingProxy]) -> None:
    run, _ = world
    ran = subprocess.run(
        [sys.executable, "-m", "cli", "doctor", "--json"],
        env=dict(run.env),
        capture_output=True,
        text=True,
        check=False,
    )
    problems = {finding["check"]: finding["text"] for finding in json.loads(ran.stdout) if not finding["ok"]}
    assert problems.keys() - {"limits"} == {"certificates", "TMPDIR"}  # some machines allow few open files
    assert SECRET not in ran.stdout + ran.stderr


def test_a_password_file_is_read_for_a_database_of_ones_own(tmp_path: Path, database: TestDatabase) -> None:
    """And what says how it answers is not."""
    parts = urlsplit(database.migrator)
    password_file = tmp_path / "pgpass"
    password_file.write_text(f"{parts.hostname}:{parts.port}:*:{parts.username}:{parts.password}\n")
    password_file.chmod(0o600)
    env = environment(
        tmp_path / "home", QUARTERDECK_DATABASE_URL=f"postgresql://{parts.username}@{parts.hostname}:{parts.port}{parts.path}",
        PGPASSFILE=str(password_file), PGOPTIONS="-c search_path=nowhere", PGHOSTADDR="192.0.2.1", PGDATESTYLE="SQL, DMY",
        PGSSLMODE="disable",
    )  # fmt: skip
    ran = command(env, "migrate")
    assert (ran.returncode, ran.stderr) == (0, "")


def problems(findings: Iterator[Finding]) -> dict[str, str]:
    return {finding.check: f"{finding.text}. {finding.remedy}" for finding in findings if not finding.ok}


def test_doctor_names_a_proxy_that_would_be_used_and_is_away(tmp_path: Path) -> None:
    port = free_port()
    environ = {"HTTPS_PROXY": f"http://{USER}:{SECRET}@127.0.0.1:{port}"}
    nothing_outside = Settings(home=tmp_path)
    outside = Settings(home=tmp_path, public_url="https://deck.example")
    assert list(foreign_environment.check_proxies(nothing_outside, environ)) == []
    assert list(foreign_environment.check_proxies(outside, environ | {"NO_PROXY": "example"})) == []
    [said] = problems(foreign_environment.check_proxies(outside, environ)).values()
    assert "HTTPS_PROXY" in said
    assert f"http://127.0.0.1:{port}" in said
    assert SECRET not in said
    with recording_proxy() as proxy:
        assert problems(foreign_environment.check_proxies(outside, {"HTTPS_PROXY": proxy.url})) == {}
    [said] = problems(foreign_environment.check_proxies(outside, {"ALL_PROXY": "socks5://p:1"})).values()
    assert "SOCKS" in said


def test_a_temporal_behind_a_proxy_is_the_proxys_to_reach(tmp_path: Path) -> None:
    with recording_proxy() as proxy:
        env = environment(
            tmp_path,
            QUARTERDECK_TEMPORAL_ADDRESS="temporal.example:7233",
            QUARTERDECK_TEMPORAL_TLS="true",
            HTTPS_PROXY=proxy.url,
        )
        findings = json.loads(command(env, "doctor", "--json").stdout)
    assert [finding["ok"] for finding in findings if finding["check"] in {"proxy", "temporal"}] == [True]


def test_up_says_which_proxy_keeps_it_from_temporal(tmp_path: Path) -> None:
    away = f"http://{USER}:{SECRET}@127.0.0.1:{free_port()}"
    for proxy in (away, "socks5://127.0.0.1:9"):
        env = environment(
            tmp_path / "home", QUARTERDECK_TEMPORAL_ADDRESS="temporal.example:7233", QUARTERDECK_TEMPORAL_TLS="true",
            HTTPS_PROXY=proxy,
        )  # fmt: skip
        ran = command(env, "up")
        assert (ran.returncode, len(ran.stderr.splitlines())) == (2, 1)
        assert "HTTPS_PROXY" in ran.stderr
        assert SECRET not in ran.stderr


def test_doctor_names_a_folder_for_temporary_files_that_cannot_be_written(tmp_path: Path) -> None:
    assert problems(foreign_environment.check_files({"TMPDIR": str(tmp_path)})) == {}
    assert problems(foreign_environment.check_files({"TMPDIR": str(tmp_path / "missing")})).keys() == {"TMPDIR"}
    need(present=Path("/proc/self").is_dir(), what="/proc", install="run the tests on Linux")
    assert problems(foreign_environment.check_files({"TMPDIR": "/proc/self"})).keys() == {"TMPDIR"}


@pytest.mark.parametrize(("variable", "is_file"), [("SSL_CERT_FILE", True), ("SSL_CERT_DIR", False)])
def test_doctor_names_certificates_that_are_missing(tmp_path: Path, variable: str, *, is_file: bool) -> None:
    missing = problems(foreign_environment.check_files({variable: str(tmp_path / "missing")}))
    assert variable in missing["certificates"]
    assert problems(foreign_environment.check_files({"SSL_CERT_DIR": str(tmp_path)})) == {}
    assert problems(foreign_environment.check_files({variable: ""})) == {}
    (tmp_path / "garbage").write_text("")
    garbage = problems(foreign_environment.check_files({variable: str(tmp_path / "garbage")}))
    assert (variable in garbage["certificates"], is_file or "folder" in garbage["certificates"]) == (True, True)


def test_what_cannot_be_shown_is_a_question_mark_and_no_traceback(tmp_path: Path) -> None:
    """Where it is not `quarterdeck` that was called, the encoding is still the caller's."""
    ran = command(environment(tmp_path / "dépôt", PYTHONIOENCODING="ascii"), "doctor")
    assert "d?p?t" in ran.stdout
    assert ran.stderr == ""


def test_doctor_names_what_python_imported_from_others(tmp_path: Path) -> None:
    """Where it is not `quarterdeck` that was called: that one replaces itself by a Python without it."""
    (tmp_path / "sitecustomize.py").touch()
    env = environment(tmp_path / "home") | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    found = {finding["check"]: finding for finding in json.loads(command(env, "doctor", "--json").stdout)}
    assert "sitecustomize" in found["PYTHONPATH"]["text"]
    assert not found["PYTHONPATH"]["ok"]
    assert problems(foreign_environment.check_imports({"PYTHONHOME": sys.prefix})).keys() == {"PYTHONHOME"}
    assert problems(foreign_environment.check_imports({"PYTHONPATH": str(ROOT)})) == {}
