"""The command at a terminal: the bar, Ctrl-C, tables, colours, conversations, questions."""

from __future__ import annotations

import asyncio
import re

from tests.cli.command_line import CommandLine, eventually
from tests.cli.scripted_api import STEPS, ScriptedApi
from tests.cli.test_cli_chat import DONE, PATH, chunk, streaming

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
COLOUR = re.compile(r"\x1b\[[0-9;]*[1-9][0-9;]*m")


def test_the_bar_moves_with_the_steps(api: ScriptedApi, quarterdeck: CommandLine):
    with quarterdeck.terminal("deploy", "smollm2", "--wait") as terminal:
        eventually(lambda: api.operations)
        operation_id = api.newest_operation()
        waiting = {"what": "first heartbeat", "why": "the machine boots"}
        state = {"status": "booting", "progress_percent": 40, "completed_steps": STEPS[:3], "waiting_on": waiting}
        api.move(operation_id, instance=state, status="running")
        terminal.until("✓ Address known")
        terminal.until("booting: first heartbeat (the machine boots)")
        terminal.until("40%")
        api.move(operation_id, instance={"status": "ready", "completed_steps": STEPS}, status="succeeded")
        assert terminal.exit_code() == 0
        assert terminal.text.count("✓") == len(STEPS)
        assert terminal.text.rindex("ready: instance") > terminal.text.rindex("✓ Health check passed")
        assert terminal.raw.rindex(SHOW_CURSOR) > terminal.raw.rindex(HIDE_CURSOR)


def test_ctrl_c_at_the_bar_detaches_and_gives_the_cursor_back(api: ScriptedApi, quarterdeck: CommandLine):
    with quarterdeck.terminal("deploy", "smollm2", "--wait") as terminal:
        terminal.until("provisioning")
        terminal.type("\x03")
        assert terminal.exit_code() == 7
        assert f"quarterdeck operations --watch {api.newest_operation()}" in terminal.text
        assert terminal.raw.rindex(SHOW_CURSOR) > terminal.raw.rindex(HIDE_CURSOR)
    assert not [request for request in api.received if request.method == "DELETE"]


def test_sigterm_at_the_bar_gives_the_cursor_back(quarterdeck: CommandLine):
    with quarterdeck.terminal("deploy", "smollm2", "--wait") as terminal:
        terminal.until("provisioning")
        terminal.process.terminate()
        assert terminal.exit_code() == 143
        assert terminal.raw.rindex(SHOW_CURSOR) > terminal.raw.rindex(HIDE_CURSOR)


def test_a_dumb_terminal_gets_lines(api: ScriptedApi, quarterdeck: CommandLine):
    with quarterdeck.terminal("deploy", "smollm2", "--wait", TERM="dumb") as terminal:
        eventually(lambda: api.operations)
        api.move(api.newest_operation(), instance={"status": "ready", "completed_steps": STEPS}, status="succeeded")
        assert terminal.exit_code() == 0
        assert "\x1b" not in terminal.raw
        assert terminal.text.count("done: ") == len(STEPS)


def test_a_table_has_colours_and_short_ids_that_work(api: ScriptedApi, quarterdeck: CommandLine):
    identifiers = [api.add_instance(model_name="[red]not markup[/red]") for _ in range(3)]
    with quarterdeck.terminal("instances") as terminal:
        assert terminal.exit_code() == 0
        assert COLOUR.search(terminal.raw)
        assert "[red]not markup[/red]" in terminal.text
        shown = re.findall(r"^([0-9a-f-]{13,36}) ", terminal.text, re.MULTILINE)
    assert len(shown) == 3
    for identifier, short in zip(reversed(identifiers), shown, strict=True):
        assert identifier.startswith(short)
        assert quarterdeck.run("instance", short).returncode == 0


def test_no_color_means_none(api: ScriptedApi, quarterdeck: CommandLine):
    api.add_instance()
    with quarterdeck.terminal("instances", NO_COLOR="1") as terminal:
        assert terminal.exit_code() == 0
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", terminal.raw)


def test_terminate_asks_and_no_is_the_default(api: ScriptedApi, quarterdeck: CommandLine):
    identifier = api.add_instance()
    with quarterdeck.terminal("terminate", identifier) as terminal:
        terminal.until("Terminate it? [y/N]")
        assert "0.001234 EUR so far" in terminal.text
        terminal.answer("\n")
        assert terminal.exit_code() == 1
    assert not api.operations
    with quarterdeck.terminal("terminate", identifier) as terminal:
        terminal.until("[y/N]")
        terminal.answer("y\n")
        assert terminal.exit_code() == 0
    assert len(api.operations) == 1


def test_ctrl_c_at_the_question_does_nothing(api: ScriptedApi, quarterdeck: CommandLine):
    with quarterdeck.terminal("terminate", api.add_instance()) as terminal:
        terminal.until("[y/N]")
        terminal.answer("\x03")
        assert terminal.exit_code() in (1, 130)
    assert not api.operations


def test_a_conversation_keeps_what_was_said_and_survives_a_refusal(api: ScriptedApi, quarterdeck: CommandLine):
    with quarterdeck.terminal("chat", "m") as terminal:
        api.next_answers("POST", PATH, streaming(chunk("Hello yourself"), DONE))
        terminal.until("> ")
        terminal.answer("first\n")
        terminal.until("Hello yourself")
        api.refuse("POST", PATH, 503, "SERVICE_UNAVAILABLE", "come back later")
        terminal.answer("second\n")
        terminal.until("come back later")
        api.next_answers("POST", PATH, streaming(chunk("Still here"), DONE))
        terminal.answer("third\n")
        terminal.until("Still here")
        terminal.answer("\x04")
        assert terminal.exit_code() == 0
    said = [(message["role"], message["content"]) for message in api.sent("POST", PATH)[2].body["messages"]]
    assert said == [("user", "first"), ("assistant", "Hello yourself"), ("user", "third")]


def test_ctrl_c_in_a_conversation_stops_the_answer_only(api: ScriptedApi, quarterdeck: CommandLine):
    async def never_ends() -> None:
        await asyncio.sleep(30)

    with quarterdeck.terminal("chat", "m") as terminal:
        api.next_answers("POST", PATH, streaming(chunk("on and on"), then=never_ends))
        terminal.until("> ")
        terminal.answer("first\n")
        terminal.until("on and on")
        terminal.type("\x03")
        terminal.until("(stopped)")
        api.next_answers("POST", PATH, streaming(chunk("again"), DONE))
        terminal.answer("second\n")
        terminal.until("again")
        terminal.answer("\x04")
        assert terminal.exit_code() == 0
