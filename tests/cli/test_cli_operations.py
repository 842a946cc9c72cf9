"""Deciding what an operation waits for."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from tests.cli.command_line import CommandLine
from tests.cli.scripted_api import ScriptedApi


def waiting(api: ScriptedApi) -> str:
    return api.add_operation("instance.terminate", api.add_instance(), status="waiting_approval")


def takes_decisions(api: ScriptedApi, operation: str) -> None:
    """Two of each."""

    async def decided(_: web.Request) -> web.Response:
        return web.json_response({**api.operations[operation], "status": "running"}, status=202)

    for verb in ("approve", "reject"):
        api.next_answers("POST", f"/operations/{operation}/{verb}", decided, decided)


@pytest.mark.parametrize(("verb", "done"), [("approve", "approved"), ("reject", "rejected")])
def test_a_decision_is_of_what_was_shown_with_its_reason_and_a_key(
    api: ScriptedApi, quarterdeck: CommandLine, verb: str, done: str
) -> None:
    operation = waiting(api)
    api.add_approval(operation, "BREAK_TOY", status="approved")
    asked = api.add_approval(operation, "SPEND", cost_eur=5000.0)
    takes_decisions(api, operation)
    yes = ["--yes"] if verb == "approve" else []
    ran = quarterdeck.run("operations", verb, operation[:30], "--comment", "as agreed", *yes)
    assert (ran.returncode, f"{done}: operation {operation}" in ran.stdout) == (0, True), ran.stderr
    assert "SPEND, 5000.00 EUR" in ran.stderr
    assert json.loads(quarterdeck.run("operations", verb, operation, "--json", *yes).stdout)["status"] == "running"
    first, second = api.sent("POST", f"/operations/{operation}/{verb}")
    assert (first.body, second.body) == ({"approval_id": asked, "comment": "as agreed"}, {"approval_id": asked})
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]


@pytest.mark.parametrize(("answer", "returncode", "sent"), [("y", 0, 1), ("n", 1, 0)])
def test_a_person_sees_what_is_asked_before_it_is_approved(
    api: ScriptedApi, quarterdeck: CommandLine, answer: str, returncode: int, sent: int
) -> None:
    operation = waiting(api)
    api.add_approval(operation, "SPEND", cost_eur=12.5)
    takes_decisions(api, operation)
    with quarterdeck.terminal("operations", "approve", operation) as terminal:
        terminal.until("SPEND, 12.50 EUR")
        terminal.until("Approve it?")
        assert api.sent("POST", f"/operations/{operation}/approve") == []
        terminal.answer(f"{answer}\r")
        assert terminal.exit_code() == returncode
    assert len(api.sent("POST", f"/operations/{operation}/approve")) == sent


def test_where_nobody_can_be_asked_nothing_is_approved(api: ScriptedApi, quarterdeck: CommandLine) -> None:
    operation = waiting(api)
    api.add_approval(operation, "SPEND")
    ran = quarterdeck.run("operations", "approve", operation)
    assert (ran.returncode, "--yes" in ran.stderr) == (2, True)
    assert api.sent("POST", f"/operations/{operation}/approve") == []


def test_of_several_one_is_named(api: ScriptedApi, quarterdeck: CommandLine) -> None:
    operation = waiting(api)
    first, second = (api.add_approval(operation, code) for code in ("BREAK_TOY", "SPEND"))
    takes_decisions(api, operation)
    ran = quarterdeck.run("operations", "reject", operation)
    assert (ran.returncode, first in ran.stderr, second in ran.stderr) == (2, True, True)
    assert quarterdeck.run("operations", "reject", operation, "--approval", second).returncode == 0
    assert [one.body for one in api.sent("POST", f"/operations/{operation}/reject")] == [{"approval_id": second}]


def test_what_is_decided_already_is_a_conflict(api: ScriptedApi, quarterdeck: CommandLine) -> None:
    operation = waiting(api)
    api.add_approval(operation, "SPEND", status="rejected")
    api.refuse("POST", f"/operations/{operation}/approve", 409, "APPROVAL_CLOSED", "this is rejected already")
    ran = quarterdeck.run("operations", "approve", operation, "--yes")
    assert (ran.returncode, "this is rejected already" in ran.stderr) == (5, True)


def test_what_asks_for_nothing_is_a_conflict_and_nothing_is_sent(api: ScriptedApi, quarterdeck: CommandLine) -> None:
    operation = waiting(api)
    ran = quarterdeck.run("operations", "approve", operation, "--yes")
    assert (ran.returncode, "waits for no approval" in ran.stderr) == (5, True)
    assert api.sent("POST", f"/operations/{operation}/approve") == []


def test_the_list_stays_what_it_was(api: ScriptedApi, quarterdeck: CommandLine) -> None:
    operation = waiting(api)
    [row] = json.loads(quarterdeck.run("operations", "--json", "--status", "waiting_approval").stdout)
    assert row["id"] == operation
