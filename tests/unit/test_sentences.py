"""The catalogue: every code of every family has a sentence in every language, and what rows of before say is understood."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import pytest

from models.domain import errors_reference
from models.domain.fleet.waits import FleetWait
from models.domain.holds import HoldCode
from models.domain.sentences import (
    ERRORS,
    HOLDS,
    QUESTIONS,
    WAITS,
    said_of_error,
    said_of_hold,
    said_of_question,
    said_of_wait,
    wait_of_row,
    who_of_wait,
)
from models.domain.waits import SpineWait
from models.domain.words import Language, Phrase, Who

CODES: list[StrEnum] = [*SpineWait, *FleetWait]
PHRASES = [*(wait.phrase for wait in WAITS.values()), *HOLDS.values(), *QUESTIONS.values(), *ERRORS.values()]
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "error-codes.md"


def test_every_code_has_its_words_and_no_words_are_of_no_code() -> None:
    assert set(WAITS) == set(CODES)
    assert set(HOLDS) == set(HoldCode)


@pytest.mark.parametrize("phrase", PHRASES, ids=lambda phrase: phrase.en)
def test_languages_name_the_same(phrase: Phrase) -> None:
    said = {language: set(re.findall(r"{(\w+)}", getattr(phrase, language.value))) for language in Language}
    assert said[Language.EN] == said[Language.FR]
    assert phrase.en
    assert phrase.fr


@pytest.mark.parametrize("phrase", ERRORS.values(), ids=lambda phrase: phrase.en)
def test_why_something_failed_needs_nothing_else(phrase: Phrase) -> None:
    """An answer and a row have the code, and what they have beside it is no part of the contract."""
    assert "{" not in phrase.en + phrase.fr
    assert phrase.en != phrase.fr
    assert not phrase.en.endswith(".")


def test_a_failed_call_at_a_provider_is_said_as_what_then_holds_an_owner() -> None:
    for code in ("PROVIDER_AUTH", "NO_CAPACITY", "SERVICE_UNAVAILABLE", "NO_WORKER"):
        assert [said_of_error(code, language) for language in Language] == [
            said_of_hold(code, language) for language in Language
        ]
    assert said_of_error("OF_A_NEWER_VERSION") is None


def test_the_document_is_the_lists() -> None:
    assert DOCUMENT.read_text() == errors_reference.markdown(), "run `make docs`"


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("code", CODES)
def test_a_sentence_does_without_what_a_row_does_not_say(code: StrEnum, language: Language) -> None:
    assert "{" not in said_of_wait(code, {}, language)


def test_a_reason_is_a_sentence_within_a_sentence() -> None:
    params = {"volumes": 2, "error_code": "PROVIDER_AUTH"}
    assert said_of_wait(FleetWait.VOLUMES_GONE, params) == (
        "volumes to go, of which 2 still exist at the provider: the provider refuses the credentials (PROVIDER_AUTH)"
    )
    assert said_of_wait(FleetWait.VOLUMES_GONE, params, Language.FR).endswith(
        " : le fournisseur refuse les identifiants (PROVIDER_AUTH)"
    )


def test_what_a_person_is_asked_is_said_as_its_family_says_it() -> None:
    assert said_of_wait(SpineWait.DECISION, {"question": "NOBODY_KNOWS"}) == "a person to decide: NOBODY_KNOWS"
    assert said_of_question("NOBODY_KNOWS", {}) == "NOBODY_KNOWS"
    assert who_of_wait(SpineWait.DECISION) is Who.PERSON


def test_a_row_of_another_version_is_understood() -> None:
    assert wait_of_row("AGENT", {"a": 1}) == ("AGENT", {"a": 1})
    assert wait_of_row("the machine to run", None) == (FleetWait.MACHINE_RUNS, {})
    code, params = wait_of_row("something {odd}", None)
    assert (code, said_of_wait(code, params)) == (SpineWait.OTHER, "something {odd}")
    assert said_of_wait("OF_A_NEWER_VERSION", {}) == "OF_A_NEWER_VERSION"
