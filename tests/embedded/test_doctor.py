"""`quarterdeck doctor` names what is wrong, says what to do, and works where the product does not."""

import errno
import json
import os
import socket
import time
from pathlib import Path

import pytest

from tests.embedded.driver import SOMEBODY_ELSE, closed_to_us, command, environment
from tests.needs import need
from workers.embedded import doctor, ports


def problems(output: str) -> dict[str, str]:
    return {finding["check"]: finding["text"] for finding in json.loads(output) if not finding["ok"]}


def test_a_good_machine_has_no_problem(tmp_path: Path) -> None:
    result = command(environment(tmp_path), "doctor")
    assert (result.returncode, result.stderr) == (0, "")
    assert {line.split()[0] for line in result.stdout.splitlines()} == {"ok"}


def test_it_works_without_any_dependency(tmp_path: Path) -> None:
    result = command(environment(tmp_path), "doctor", python=("-S",))
    assert (result.returncode, result.stderr) == (1, "")
    assert "problem  dependency pydantic_settings" in result.stdout
    assert "make" in result.stdout


def test_a_port_in_use_and_services_that_do_not_answer_are_problems(tmp_path: Path) -> None:
    env = environment(tmp_path)
    nobody = env["QUARTERDECK_TEMPORAL_PORT"]
    env |= {
        "QUARTERDECK_DATABASE_URL": f"postgresql://someone:planted-secret@127.0.0.1:{nobody}/x",
        "QUARTERDECK_TEMPORAL_ADDRESS": f"127.0.0.1:{nobody}",
    }
    with socket.create_server(("127.0.0.1", int(env["QUARTERDECK_API_PORT"]))):
        result = command(env, "doctor", "--json")
    assert result.returncode == 1
    assert set(problems(result.stdout)) == {"api port", "database", "temporal"}
    assert "planted-secret" not in result.stdout


def test_bad_settings_are_a_problem(tmp_path: Path) -> None:
    result = command(environment(tmp_path, QUARTERDECK_ENVIRONMENT="production"), "doctor", "--json")
    assert "QUARTERDECK_INSTALLATION_KEY" in problems(result.stdout)["settings"]


def test_a_home_under_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not doctor.check_home(tmp_path / "file" / "home").ok


def test_a_home_that_is_not_ours_alone_is_a_problem(tmp_path: Path) -> None:
    assert doctor.check_home(tmp_path).ok
    tmp_path.chmod(0o770)
    assert "can be written by others" in doctor.check_home(tmp_path).text
    tmp_path.chmod(0o700)
    need(present=os.geteuid() == 0, what="root", install="run the tests as root")
    os.chown(tmp_path, SOMEBODY_ELSE, -1)
    found = doctor.check_home(tmp_path)
    assert (found.ok, "belongs to another user" in found.text) == (False, True)


def test_a_home_of_another_user_is_a_problem_among_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed_to_us(monkeypatch, tmp_path / "up.lock")
    monkeypatch.setenv("QUARTERDECK_HOME", str(tmp_path))
    findings = list(doctor.examine())
    assert ["belongs to another user" in finding.text for finding in findings if not finding.ok] == [True]


def test_a_port_that_we_may_not_have_is_not_called_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: socket.socket, _address: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    found = ports.obstacle(80)
    assert found is not None
    assert found.text(80) == "not allowed to listen on port 80"
    assert "QUARTERDECK_API_PORT" in found.remedy("QUARTERDECK_API_PORT")


def test_a_host_that_is_not_ours_is_not_called_used() -> None:
    assert ports.obstacle(8000, "192.0.2.1") is ports.Obstacle.NO_ADDRESS


def test_a_clock_that_was_never_set_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert not doctor.check_clock().ok


def test_a_program_that_does_not_run_is_a_problem(tmp_path: Path) -> None:
    broken = tmp_path / "program"
    broken.write_text("not a program")
    assert not doctor._runs("program", lambda: str(broken)).ok
