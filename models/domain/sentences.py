"""The one catalogue of what is said to people, joined from the families: which there are, listing `wording` says."""

from itertools import chain
from typing import Final

from models.base.listing import exported_by_module
from models.domain import wording
from models.domain.holds import refused_by_provider
from models.domain.waits import SpineWait
from models.domain.words import Language, Params, Phrase, Wait, Who, Words

FAMILIES: Final = exported_by_module(wording, "FAMILY", Words)
"""By name."""
_FAMILIES: Final = tuple(FAMILIES.values())
WAITS: Final = dict[str, Wait](chain.from_iterable(family.waits.items() for family in _FAMILIES))
HOLDS: Final = dict[str, Phrase](chain.from_iterable(family.holds.items() for family in _FAMILIES))
QUESTIONS: Final = dict[str, Phrase](chain.from_iterable(family.questions.items() for family in _FAMILIES))
ERRORS: Final = dict[str, Phrase](chain.from_iterable(family.errors.items() for family in _FAMILIES))
_BEFORE: Final = dict[str, str](chain.from_iterable(family.texts_of_before.items() for family in _FAMILIES))


def wait_of_row(code: str, params: Params | None) -> tuple[str, Params]:
    """What a row says that it waits for. One that another version wrote may have a sentence where the code belongs."""
    known = code if code in WAITS else _BEFORE.get(code)
    return (known, params or {}) if known else (SpineWait.OTHER.value, {"text": code})


def who_of_wait(code: str) -> Who:
    return WAITS[code].who if code in WAITS else Who.OWNER


def said_of_wait(code: str, params: Params, language: Language = Language.EN) -> str:
    """What is waited for, as it is put after "waiting for". A code that this version does not know is its own sentence."""
    if code not in WAITS:
        return code
    return WAITS[code].phrase.said(language, {**params, **_parts(params, language)})


def said_of_hold(code: str, language: Language = Language.EN) -> str:
    """What stands in the way. A code that this version does not know is its own sentence."""
    return HOLDS[code].said(language, {}) if code in HOLDS else code


def said_of_question(code: str, params: Params, language: Language = Language.EN) -> str:
    return QUESTIONS[code].said(language, params) if code in QUESTIONS else code


def said_of_error(code: str, language: Language = Language.EN) -> str | None:
    """Why something could not be done. None for a code that this version does not know: what came with it is all there is."""
    return ERRORS[code].said(language, {}) if code in ERRORS else None


def _parts(params: Params, language: Language) -> dict[str, str]:
    """What phrases name that is a sentence itself: why a provider refuses, and what a person is asked."""
    parts, colon = {}, {Language.EN: ":", Language.FR: " :"}[language]
    if error_code := params.get("error_code"):
        why = said_of_hold(refused_by_provider(str(error_code)), language)
        parts["reason"] = f"{colon} {why} ({error_code})"
    if question := params.get("question"):
        parts["question"] = f"{colon} {said_of_question(str(question), params, language)}"
    return parts
