"""Lists, single objects, and ids given by their beginning."""

from __future__ import annotations

import json

import pytest

from tests.cli.command_line import CommandLine
from tests.cli.scripted_api import ScriptedApi
from tests.patience import GIVE_UP_S

ONE = "019c1a2b-0000-7000-8000-000000000001"
TWO = "019c1a2b-0000-7000-8000-000000000002"
HELD = {"code": "PROVIDER_UNAVAILABLE", "since": "2026-01-31T10:00:00Z"}
OTHER = "019c1a2c-0000-7000-8000-000000000003"


def test_a_pipe_gets_a_header_and_full_ids_separated_by_tabs(api: ScriptedApi, quarterdeck: CommandLine):
    api.add_instance(id=ONE)
    api.add_instance(id=TWO, status="booting", progress_percent=40)
    ran = quarterdeck.run("instances")
    header, newest, oldest = [line.split("\t") for line in ran.stdout.splitlines()]
    assert header[:4] == ["ID", "MODEL", "STATUS", "%"]
    assert newest[:4] == [TWO, "SmolLM2 135M", "booting", "40"]
    assert (oldest[0], oldest[7], oldest[8]) == (ONE, "0.75", "0.001234")
    assert "\x1b" not in ran.stdout + ran.stderr


def test_more_rows_than_one_page_holds(api: ScriptedApi, quarterdeck: CommandLine):
    for _ in range(1203):
        api.add_instance()
    rows = json.loads(quarterdeck.run("instances", "--json").stdout)
    assert [row["id"] for row in rows] == list(reversed(api.instances))
    assert len(api.sent("GET", "/instances/search")) == 3


def test_filters(api: ScriptedApi, quarterdeck: CommandLine):
    api.add_instance(id=ONE, status="failed")
    api.add_instance(id=TWO, status="terminated")
    api.add_instance(id=OTHER, status="archived", is_archived=True)
    listed = quarterdeck.run("instances", "--status", "failed,ready", "--json")
    assert [row["id"] for row in json.loads(listed.stdout)] == [ONE]
    listed = quarterdeck.run("instances", "--archived", "--json")
    assert [row["id"] for row in json.loads(listed.stdout)] == [OTHER]


def test_rows_are_the_json_of_the_api(api: ScriptedApi, quarterdeck: CommandLine):
    api.add_instance(id=ONE, an_added_field={"kept": [1, None, "\u2028é"]})
    assert json.loads(quarterdeck.run("instances", "--json").stdout) == [api.instances[ONE]]
    assert json.loads(quarterdeck.run("instance", ONE, "--json").stdout) == api.instances[ONE]


def test_an_empty_list_says_how_to_begin(quarterdeck: CommandLine):
    ran = quarterdeck.run("instances")
    assert ran.returncode == 0
    assert "quarterdeck deploy MODEL --wait" in ran.stderr
    assert quarterdeck.run("instances", "--json").stdout == "[]\n"


def test_one_instance(api: ScriptedApi, quarterdeck: CommandLine):
    waiting = {"what": "first heartbeat", "since": "2026-01-31T10:00:00Z", "until": None, "why": "the agent boots"}
    api.add_instance(
        id=ONE, status="installing", waiting_on=waiting, error_code="STARTUP_TIMEOUT", storages=[{"name": "v", "size_gb": 9}],
        held=HELD,
    )  # fmt: skip
    ran = quarterdeck.run("instance", ONE)
    fields = dict(line.split("\t", 1) for line in ran.stdout.splitlines())
    assert fields["waiting on"].startswith("first heartbeat (the agent boots)")
    assert fields["held"].startswith("the provider does not answer (PROVIDER_UNAVAILABLE), ")
    assert fields["error"] == "the model was not served within the startup time (STARTUP_TIMEOUT)"
    assert fields["steps"].startswith("Machine created, Machine started")
    assert fields["volumes"] == "v 9 GB"
    assert fields["price"] == "0.75 EUR per hour"


@pytest.mark.parametrize("given", ["019c1a2c", "019C1A2C", OTHER, OTHER[:-1]])
def test_a_unique_beginning_is_enough(api: ScriptedApi, quarterdeck: CommandLine, given: str):
    for identifier in (ONE, TWO, OTHER):
        api.add_instance(id=identifier)
    assert json.loads(quarterdeck.run("instance", given, "--json").stdout)["id"] == OTHER


def test_an_ambiguous_beginning_lists_what_it_may_mean(api: ScriptedApi, quarterdeck: CommandLine):
    for identifier in (ONE, TWO, OTHER):
        api.add_instance(id=identifier)
    ran = quarterdeck.run("terminate", "019c1a2b", "--yes")
    assert ran.returncode == 2
    assert "AMBIGUOUS_ID" in ran.stderr
    assert ONE in ran.stderr
    assert TWO in ran.stderr
    assert OTHER not in ran.stderr
    assert all(request.method == "GET" for request in api.received)


def test_the_archived_are_found_when_no_other_begins_so(api: ScriptedApi, quarterdeck: CommandLine):
    api.add_instance(id=ONE, is_archived=True, status="archived")
    assert json.loads(quarterdeck.run("instance", "019c", "--json").stdout)["id"] == ONE
    api.add_instance(id=TWO)
    assert json.loads(quarterdeck.run("instance", "019c", "--json").stdout)["id"] == TWO


def test_an_id_that_nothing_has(api: ScriptedApi, quarterdeck: CommandLine):
    api.add_instance(id=ONE)
    for command in (["instance", "ffff"], ["instance", TWO], ["operations", "--watch", "ffff"]):
        ran = quarterdeck.run(*command)
        assert (ran.returncode, "NOT_FOUND" in ran.stderr) == (3, True)


def test_operations_by_cursor(api: ScriptedApi, quarterdeck: CommandLine):
    for _ in range(7):
        api.add_operation("instance.provision", api.add_instance())
    rows = json.loads(quarterdeck.run("operations", "--json", "--limit", "3").stdout)
    assert [row["id"] for row in rows] == list(reversed(api.operations))[:3]
    for _ in range(1000):
        api.add_operation("instance.terminate", ONE, status="succeeded")
    oldest = api.add_operation("instance.provision", api.add_instance(), id=ONE, status="succeeded")
    api.operations = {oldest: api.operations[oldest]} | api.operations
    assert quarterdeck.run("operations", "--watch", oldest[:10]).returncode == 0
    assert len(json.loads(quarterdeck.run("operations", "--json", "--limit", "10000").stdout)) == 1008


def test_operations_say_what_they_wait_for(api: ScriptedApi, quarterdeck: CommandLine):
    api.add_operation("instance.provision", api.add_instance(), waiting_on={"what": "capacity", "why": "sim-b is full"})
    ran = quarterdeck.run("operations")
    assert "capacity (sim-b is full)" in ran.stdout


def test_lists_show_what_is_held(api: ScriptedApi, quarterdeck: CommandLine):
    held = api.add_instance(status="terminating", held=HELD)
    api.add_instance()
    api.add_operation("instance.terminate", held, held=HELD)
    for command in ("instances", "operations"):
        lines = [line.split("\t") for line in quarterdeck.run(command).stdout.splitlines()]
        column = lines[0].index("HELD")
        cells = [line[column] for line in lines[1:]]
        [shown] = [cell for cell in cells if cell != "-"]
        assert shown.startswith("PROVIDER_UNAVAILABLE, ")


def test_models(quarterdeck: CommandLine):
    ran = quarterdeck.run("models")
    assert ran.stdout.splitlines()[1].split("\t")[:2] == [
        "smollm2-135m-instruct",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
    ]


def test_terminate_asks_first_and_a_script_must_say_so(api: ScriptedApi, quarterdeck: CommandLine):
    api.add_instance(id=ONE)
    ran = quarterdeck.run("terminate", ONE, stdin="y\n")
    assert (ran.returncode, "--yes" in ran.stderr) == (2, True)
    assert all(request.method == "GET" for request in api.received)


def test_terminate_and_its_repetition(api: ScriptedApi, quarterdeck: CommandLine):
    api.add_instance(id=ONE)
    ran = quarterdeck.run("terminate", ONE[:10], "--yes", "--json")
    assert json.loads(ran.stdout)["operation"]["kind"] == "instance.terminate"
    api.instances[ONE]["status"] = "terminated"
    ran = quarterdeck.run("terminate", ONE, "--yes", "--wait")
    assert (ran.returncode, ran.stdout) == (0, f"terminated: instance {ONE}\n")


def test_terminate_and_wait(api: ScriptedApi, quarterdeck: CommandLine):
    api.add_instance(id=ONE)
    process = quarterdeck.start("terminate", ONE, "--yes", "--wait")
    while not api.operations:
        assert process.poll() is None
    api.move(api.newest_operation(), instance={"status": "terminated"}, status="succeeded", progress=100)
    out, err = process.communicate(timeout=GIVE_UP_S)
    assert (process.returncode, out) == (0, f"terminated: instance {ONE}\n")
    assert f"quarterdeck archive {ONE}" in err


def test_reinstall_can_be_repeated(api: ScriptedApi, quarterdeck: CommandLine):
    api.add_instance(id=ONE)
    assert quarterdeck.run("reinstall", ONE, "--yes", "--idempotency-key", "k1").returncode == 0
    (request,) = api.sent("POST", f"/instances/{ONE}/reinstall")
    assert request.headers["idempotency-key"] == "k1"


def test_reinstall_in_the_wrong_state_is_a_conflict(api: ScriptedApi, quarterdeck: CommandLine):
    api.add_instance(id=ONE)
    api.refuse("POST", f"/instances/{ONE}/reinstall", 409, "ILLEGAL_TRANSITION", "it is terminating")
    assert quarterdeck.run("reinstall", ONE, "--yes").returncode == 5


def test_archive(api: ScriptedApi, quarterdeck: CommandLine):
    api.add_instance(id=ONE, status="terminated")
    assert quarterdeck.run("archive", ONE).stdout == f"archived: instance {ONE}\n"
    assert json.loads(quarterdeck.run("archive", ONE, "--json").stdout)["status"] == "archived"


def test_a_reader_that_stops_early_is_no_failure_of_ours(api: ScriptedApi, quarterdeck: CommandLine):
    for _ in range(2000):
        api.add_instance()
    process = quarterdeck.start("instances")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=GIVE_UP_S)
    assert "Traceback" not in err
    assert "BrokenPipe" not in err
