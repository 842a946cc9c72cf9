"""What families say to people, in every language there is (contract decision 24): codes are data, sentences are made of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Params = Mapping[str, object]


class Language(StrEnum):
    EN = "en"
    FR = "fr"


class Who(StrEnum):
    """Whose turn it is while something waits."""

    OWNER = "owner"  # the workflow of the object: this installation
    PROVIDER = "provider"
    AGENT = "agent"  # the program on the machine
    CALLERS = "callers"
    PERSON = "person"


@dataclass(frozen=True)
class Phrase:
    """One sentence, or a part of one, with `{name}` where a parameter belongs."""

    en: str
    fr: str

    def said(self, language: Language, params: Params) -> str:
        """A parameter that is not there leaves nothing: an older row may not have it."""
        text: str = getattr(self, language.value)
        return text.format_map(_Given(params))


@dataclass(frozen=True)
class Wait:
    """What is waited for: "waiting for ..." goes before the phrase."""

    phrase: Phrase
    who: Who


@dataclass(frozen=True, kw_only=True)
class Words:
    """Those of one family, by their codes. `models/domain/sentences.py` joins those of all families."""

    waits: Mapping[str, Wait] = field(default_factory=dict)
    holds: Mapping[str, Phrase] = field(default_factory=dict)
    questions: Mapping[str, Phrase] = field(default_factory=dict)
    """What people are asked to approve."""
    errors: Mapping[str, Phrase] = field(default_factory=dict)
    """Why something could not be done, and what alarms are of."""
    texts_of_before: Mapping[str, str] = field(default_factory=dict)
    """Sentences that rows had where they have the code now."""


class _Given(dict[str, object]):
    def __missing__(self, _name: str) -> str:
        return ""
