"""Starting: how fast, with what loaded, and handing over to the programs that run an installation."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.handover import PROGRAMS
from tests.cli.command_line import COMMAND, ROOT, environment
from tests.patience import GIVE_UP_S

MOST_MODULES = 220
HEAVY = {"httpx", "rich", "sqlmodel", "sqlalchemy", "temporalio", "fastapi", "pydantic", "aiohttp", "asyncio"}

PROGRAM = """
import json, os, signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(42))
print(json.dumps({"module": __spec__.name, "arguments": sys.argv[1:], "pid": os.getpid()}), flush=True)
if "--stay" in sys.argv:
    time.sleep(30)
sys.exit(23)
"""


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, str]:
    """An environment of an installation whose `workers` and `api` tell what they were given."""
    for name in ("workers", "api"):
        (tmp_path / "first" / name).mkdir(parents=True)
        (tmp_path / "first" / name / "__main__.py").write_text(PROGRAM)
        (tmp_path / "first" / name / "__init__.py").touch()
    for name in ("cli", "models"):
        (tmp_path / "first" / name).symlink_to(ROOT / name)
    return environment(tmp_path, {"PYTHONPATH": str(tmp_path / "first")})


def test_help_loads_little_and_nothing_heavy(tmp_path: Path):
    """What it takes is in proportion to what is loaded; `make bench` measures it."""
    python = [sys.executable, "-X", "importtime", "-m", "cli", "--help"]
    ran = subprocess.run(python, env=environment(tmp_path, {}), capture_output=True, text=True, check=True)
    assert "deploy" in ran.stdout
    loaded = [line.rpartition("|")[2].strip() for line in ran.stderr.splitlines() if line.startswith("import time:")]
    assert "typer" in loaded
    assert HEAVY.isdisjoint(loaded)
    assert len(loaded) < MOST_MODULES


@pytest.mark.parametrize("command", sorted(PROGRAMS))
@pytest.mark.parametrize("arguments", [[], ["--help"], ["--queues", "a,b", "--", "-x", "--json"]])
def test_a_command_of_the_installation_is_handed_over_as_given(
    programs: dict[str, str], tmp_path: Path, command: str, arguments: list[str]
):
    ran = subprocess.run(
        [*COMMAND, command, *arguments], env=programs, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    told = json.loads(ran.stdout)
    module, *first = PROGRAMS[command]
    assert told["module"] == f"{module}.__main__"
    assert told["arguments"] == [*first, *arguments]
    assert ran.returncode == 23


@pytest.mark.parametrize("missing", ["typer", "httpx"])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_missing_dependency_is_one_line(tmp_path: Path, missing: str, as_json: bool):
    for name in ("cli", "models"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / f"{missing}.py").write_text(f"raise ModuleNotFoundError('No module named {missing}', name='{missing}')")
    env = environment(tmp_path, {"QUARTERDECK_API_KEY": "sk-qd-" + "00" * 32, "PYTHONPATH": str(tmp_path)})
    ran = subprocess.run(
        [*COMMAND, "models", *(["--json"] if as_json else [])], env=env, cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
    assert f"{missing} is not installed: run `make clean up`" in ran.stderr
    if as_json:
        assert json.loads(ran.stderr)["code"] == "MISSING_DEPENDENCY"


@pytest.mark.parametrize("command", sorted(PROGRAMS))
def test_the_programs_are_handed_over_to_without_any_dependency(programs: dict[str, str], tmp_path: Path, command: str):
    """`doctor` says what is missing, so it must be reached without what may be missing."""
    (tmp_path / "first" / "typer.py").write_text("raise ModuleNotFoundError('No module named typer', name='typer')")
    ran = subprocess.run([*COMMAND, command], env=programs, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 23, ran.stderr


def test_signals_and_exit_code_are_the_programs_own(programs: dict[str, str], tmp_path: Path):
    process = subprocess.Popen(
        [*COMMAND, "up", "--stay"], env=programs, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["pid"] == process.pid
        process.send_signal(signal.SIGINT)
        assert process.wait(GIVE_UP_S) == 42
    finally:
        process.kill()
        process.communicate()


def test_a_folder_of_the_caller_is_not_run_in_place_of_the_program(programs: dict[str, str], tmp_path: Path):
    mine = tmp_path / "project"
    (mine / "workers").mkdir(parents=True)
    (mine / "workers" / "__main__.py").write_text("raise SystemExit('the wrong program')")
    (mine / "workers" / "__init__.py").touch()
    ran = subprocess.run([*COMMAND, "up"], env=programs, cwd=mine, capture_output=True, text=True, check=False)
    assert ran.returncode == 23, ran.stderr


def test_completion_offers_commands_and_options(tmp_path: Path):
    def offered(words: str, position: int) -> set[str]:
        settings = {
            "_QUARTERDECK_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(position),
        }  # fmt: skip
        ran = subprocess.run(
            COMMAND, env=environment(tmp_path, settings), capture_output=True, text=True, check=False, timeout=GIVE_UP_S
        )
        return set(ran.stdout.split())

    assert {"deploy", "down", "doctor"} <= offered("quarterdeck d", 1)
    assert {"--provider", "--wait", "--json"} <= offered("quarterdeck deploy --", 2)


def test_an_argument_that_is_no_text_is_wrong_usage(tmp_path: Path):
    ran = subprocess.run(
        [*COMMAND, "chat", "m", b"\xff"], env=environment(tmp_path, {}), capture_output=True, check=False
    )
    assert ran.returncode == 2
    assert b"Traceback" not in ran.stderr


@pytest.mark.parametrize("command", ["deploy", "instances", "instance", "terminate", "reinstall", "archive", "operations",
                                     "models", "chat", "logs", "whoami"])  # fmt: skip
def test_every_command_explains_itself_and_speaks_json(tmp_path: Path, command: str):
    ran = subprocess.run(
        [*COMMAND, command, "--help"], env=environment(tmp_path, {}), capture_output=True, text=True, check=True
    )
    assert "--json" in ran.stdout
    assert "\x1b" not in ran.stdout
