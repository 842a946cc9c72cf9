"""The log of actions, as it stands and as it grows."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest
from uuid_utils.compat import uuid7

from cli.api_client import Api
from cli.commands import action_logs
from cli.connection import Connection
from cli.screen import Screen
from cli.session import Session
from tests.cli.command_line import CommandLine, eventually
from tests.cli.scripted_api import API_KEY, ScriptedApi
from tests.patience import GIVE_UP_S

ONE = "019c1a2b-0000-7000-8000-000000000001"
STREAM = "/events/stream"


def log(api: ScriptedApi, action: str, status: str = "success", instance_id: str = ONE) -> str:
    row: dict[str, object] = {
        "id": str(uuid7()), "action_type": action, "component": "orchestrator", "status": status, "error_message": None,
        "error_code": None, "instance_id": instance_id, "duration_ms": 1500, "created_at": "2026-01-31T10:00:00Z",
        "metadata": {}, "instance_status_before": "booting", "instance_status_after": "booting",
    }  # fmt: skip
    api.action_logs.append(row)
    return str(row["id"])


def told(api: ScriptedApi, *ids: str) -> None:
    api.publish(STREAM, "action_log.created", {"ids": list(ids), "instance_ids": [ONE]})


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_the_oldest_of_the_latest_comes_first(api: ScriptedApi, quarterdeck: CommandLine):
    for number in range(5):
        log(api, f"ACTION_{number}")
    ran = quarterdeck.run("logs", "--limit", "3")
    assert [row.split("\t")[2] for row in ran.stdout.splitlines()] == ["ACTION", "Action 2", "Action 3", "Action 4"]


@pytest.mark.parametrize(
    ("language", "why"),
    [
        ("C.UTF-8", "the provider has no such machine left"),
        ("fr_FR.UTF-8", "le fournisseur n'a plus de machine de ce type"),
    ],
)
def test_what_failed_is_said_in_the_language_of_the_person(
    api: ScriptedApi, quarterdeck: CommandLine, language: str, why: str
):
    log(api, "PROVIDER_CREATE", status="failed")
    api.action_logs[0] |= {"error_code": "PROVIDER_OUT_OF_STOCK", "error_message": "none left in sim-b"}
    log(api, "PROVIDER_CREATE", status="failed")
    api.action_logs[1] |= {"error_code": "OF_A_NEWER_SERVER", "error_message": "told by it"}
    ran = quarterdeck.run("logs", LANG=language)
    outcomes = [row.rpartition("\t")[2] for row in ran.stdout.splitlines()[1:]]
    assert outcomes == [f"{why} (PROVIDER_OUT_OF_STOCK): none left in sim-b", "OF_A_NEWER_SERVER: told by it"]


def test_of_one_instance(api: ScriptedApi, quarterdeck: CommandLine):
    api.add_instance(id=ONE)
    log(api, "MINE")
    log(api, "THEIRS", instance_id=str(uuid7()))
    ran = quarterdeck.run("logs", "--instance", ONE[:8], "--json")
    assert [row["action_type"] for row in json.loads(ran.stdout)] == ["MINE"]


def test_following_tells_each_action_when_it_begins_and_when_it_ends(api: ScriptedApi, quarterdeck: CommandLine):
    api.add_instance(id=ONE)
    log(api, "BEFORE")
    process = quarterdeck.start("logs", "--follow", "--instance", ONE)
    assert "Before" in line(process)
    begun = log(api, "PROVIDER_CREATE", status="in_progress")
    told(api, begun)
    assert "in_progress" in line(process)
    for _ in range(250):
        log(api, "NOISE", instance_id=str(uuid7()))
    told(api, begun)  # an event that changes nothing is not told
    api.action_logs[1]["status"] = "success"
    told(api, begun)
    ended = line(process)
    assert "Provider Create" in ended
    assert "success" in ended
    (stream,) = api.sent("GET", STREAM)
    assert stream.query == {"topics": "actions", "instance_id": ONE}


def test_following_goes_on_after_a_restart_without_gap_or_repeat(api: ScriptedApi, quarterdeck: CommandLine):
    process = quarterdeck.start("logs", "--follow", "--json")
    eventually(lambda: api.sent("GET", "/action_logs"))
    seen = []
    for round_ in range(3):
        told(api, log(api, f"ROUND_{round_}"))
        seen.append(json.loads(line(process))["action_type"])
        api.stop()
        told(api, log(api, f"AWAY_{round_}"))
        api.start()
        seen.append(json.loads(line(process))["action_type"])
    assert seen == ["ROUND_0", "AWAY_0", "ROUND_1", "AWAY_1", "ROUND_2", "AWAY_2"]
    assert api.streams[STREAM].resumed_after[:2] == [None, "1"]


def test_what_was_removed_with_age_is_read_anew(api: ScriptedApi, quarterdeck: CommandLine):
    process = quarterdeck.start("logs", "--follow", "--json")
    eventually(lambda: api.sent("GET", "/action_logs"))
    log(api, "UNTOLD")
    api.publish(STREAM, "resync", {"after": 1, "next": 90})
    assert json.loads(line(process))["action_type"] == "UNTOLD"


def test_a_follower_of_months_remembers_the_latest_only(capsys: pytest.CaptureFixture[str]):
    screen = Screen(as_json=True)
    nowhere = Api(Connection("http://127.0.0.1:9", API_KEY, "a test"), screen.note)
    told_rows = action_logs._Told(Session(nowhere, screen))
    rows = [{"id": str(number), "status": "success"} for number in range(action_logs.REMEMBERED_ROWS + 10)]
    told_rows.tell(reversed(rows))
    capsys.readouterr()
    told_rows.tell(rows[-5:])
    assert capsys.readouterr().out == ""
    assert len(told_rows._statuses) == action_logs.REMEMBERED_ROWS


def test_ctrl_c_ends_the_following(api: ScriptedApi, quarterdeck: CommandLine):
    process = quarterdeck.start("logs", "--follow")
    eventually(lambda: api.sent("GET", "/action_logs"))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=GIVE_UP_S)
    assert (process.returncode, err) == (130, "")
