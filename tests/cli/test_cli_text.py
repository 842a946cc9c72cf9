"""Values as people read them."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.snapshot import held_cell, held_clause, snapshot, step_label, waiting_clause
from cli.text import duration, money, percent, printable, seconds_since, short_ids, shown
from models.domain.fleet.instances.progress import Step
from models.domain.holds import HoldCode
from models.domain.sentences import said_of_hold
from models.domain.words import Language

NOW = datetime(2026, 1, 31, 10, 0, tzinfo=UTC)


@given(st.text(), st.booleans())
def test_nothing_that_a_terminal_obeys_gets_through(text: str, multiline: bool):
    written = printable(text, multiline=multiline)
    assert all(unicodedata.category(character) != "Cc" or character in "\n\t" for character in written)
    if not multiline:
        assert "\n" not in written


def test_an_escape_sequence_loses_its_escape():
    assert printable("\x1b]0;title\x07\x1b[31mred\u202egnp") == "]0;title[31mredgnp"


@given(st.sets(st.uuids().map(str), min_size=1, max_size=30))
def test_a_short_id_names_one_of_them(ids: set[str]):
    for identifier, short in short_ids(ids).items():
        assert [other for other in ids if other.startswith(short)] == [identifier]
        assert len(short) >= 13


def test_ids_of_one_millisecond_are_told_apart():
    one, other = "019c1a2b-3c4d-7000-8000-000000000001", "019c1a2b-3c4d-7000-8000-000000000002"
    assert short_ids([one, other]) == {one: one, other: other}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (3600, "1 h"), (86_399, "23 h 59 min"),
     (86_400, "1 d"), (90_000_000, "1041 d 16 h")],
)  # fmt: skip
def test_durations(seconds: float | None, words: str):
    assert duration(seconds) == words


@given(st.floats(0, 1e9))
def test_every_duration_has_words(seconds: float):
    assert duration(seconds)


@pytest.mark.parametrize(
    ("amount", "words"), [(0, "0.00"), (0.75, "0.75"), (2.7, "2.70"), (0.001234, "0.001234"), (None, "-"), ("x", "-")]
)
def test_money(amount: object, words: str):
    assert money(amount) == words


@pytest.mark.parametrize("value", [None, "", "90", -5, 250, [], {}])
def test_percent_stays_a_share(value: object):
    assert 0 <= percent(value) <= 100


def test_cells():
    assert [shown(value) for value in (None, "", True, 1.50, ["a", "b"], [], "a\nb")] == [
        "-", "-", "yes", "1.5", "a, b", "-", "a b",
    ]  # fmt: skip


def test_a_moment_in_the_future_is_not_minus_something_ago():
    assert seconds_since((NOW + timedelta(seconds=5)).isoformat(), NOW) == 0
    assert seconds_since("not a time", NOW) is None


def test_what_is_waited_for():
    waiting = {
        "what": "first heartbeat",
        "why": "the agent is installing",
        "since": "2026-01-31T09:59:18Z",
        "until": None,
    }
    assert waiting_clause(waiting, NOW) == "first heartbeat (the agent is installing), 42 s"
    assert waiting_clause("capacity") == "capacity"
    assert [waiting_clause(nothing) for nothing in (None, "", {}, {"what": None})] == ["", "", "", ""]


def test_what_is_waited_for_is_said_in_the_language_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    waiting = {"code": "PROVIDER_ANSWERS", "params": {"error_code": "NO_CAPACITY"}, "what": "of the server's making"}
    for variable in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(variable, raising=False)
    for value, said in (
        ("C.UTF-8", "the provider to answer (NO_CAPACITY)"),
        ("fr_FR.UTF-8", "que le fournisseur réponde (NO_CAPACITY)"),
    ):
        monkeypatch.setenv("LANG", value)
        assert waiting_clause(waiting) == said
    assert waiting_clause({"code": "MOON", "what": "a newer server's"}) == "a newer server's"
    assert waiting_clause({"code": "OTHER", "params": {"text": "of before"}, "what": "of before"}) == "of before"
    monkeypatch.setenv("LC_ALL", "en_GB")
    assert waiting_clause(waiting).startswith("the provider")


def test_what_holds_an_owner():
    held = {"code": "PROVIDER_AUTH", "since": "2026-01-31T09:55:00Z"}
    assert held_clause(held, NOW) == "the provider refuses the credentials (PROVIDER_AUTH), 5 min"
    assert held_clause(held) == "the provider refuses the credentials (PROVIDER_AUTH)"
    assert held_clause({"code": "MOON\x1b[2J", "since": "?"}, NOW) == "MOON[2J", "a newer server's, harmless"
    assert held_cell(held, NOW) == "PROVIDER_AUTH, 5 min"
    for nothing in (None, "", {}, {"code": None}):
        assert (held_clause(nothing, NOW), held_cell(nothing, NOW)) == ("", "-")


@pytest.mark.parametrize("code", list(HoldCode))
def test_every_hold_has_a_sentence(code: HoldCode):
    for language in Language:
        assert code not in said_of_hold(code, language)


@pytest.mark.parametrize("step", list(Step))
def test_every_step_has_a_label(step: Step):
    assert step_label(step.value)[0].isupper()
    assert "_" not in step_label(step.value)


def test_a_step_of_a_newer_server_reads_as_words():
    assert step_label("PROVIDER_DANCE") == "Provider Dance"


def test_progress_is_the_instance_while_it_boots_and_the_operation_otherwise():
    instance = {"status": "starting", "progress_percent": 70, "completed_steps": ["PROVIDER_CREATE"]}
    booting = snapshot({"kind": "instance.provision", "status": "running", "progress": 10}, instance, NOW)
    assert (booting.percent, booting.steps) == (70, ("PROVIDER_CREATE",))
    ending = snapshot({"kind": "instance.terminate", "status": "running", "progress": 10}, instance, NOW)
    assert (ending.percent, ending.steps) == (10, ())
    assert not snapshot({"kind": "x", "status": "a status of the future"}, None, NOW).is_open
