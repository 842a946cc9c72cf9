"""`docs/error-codes.md` from the lists of the families: `python -m models.domain.errors_reference > docs/error-codes.md`."""

import sys
from typing import Final

from models.domain.sentences import FAMILIES
from models.domain.words import Words

HEADER: Final = """# Error codes

What the API answers as `code`, what rows of instances, operations and actions keep as `error_code`, and what alarms are of. A
code never changes its meaning; programs branch on it, and make sentences for people of it, as `quarterdeck` does in the language
of its environment. The API adds an English sentence about the case at hand (`detail`, `error_message`), which is no part of the
contract. On `/v1` codes are in small letters, as OpenAI's clients know them; an answer of the framework itself that stands
nowhere here has its HTTP status for a code.

These tables are made from `models/domain/<family>/errors.py` (`make docs`), and the OpenAPI document has the same under
`x-sentences`. Tests hold the lists and what the code can raise equal ([0092](decisions/0092-error-codes-of-families.md)).
"""

SPINE: Final = "spine"
SHARED: Final = "Every family"


def markdown() -> str:
    names = sorted(FAMILIES, key=lambda name: (name != SPINE, name))
    return HEADER + "".join(_section(name, FAMILIES[name]) for name in names)


def sentences() -> dict[str, dict[str, str]]:
    """By code: the family that lists it, and the sentence in every language."""
    return {
        code: {"family": name, "en": phrase.en, "fr": phrase.fr}
        for name, family in sorted(FAMILIES.items())
        for code, phrase in sorted(family.errors.items())
    }


def _section(name: str, family: Words) -> str:
    rows = "".join(f"| `{code}` | {phrase.en} | {phrase.fr} |\n" for code, phrase in sorted(family.errors.items()))
    title = SHARED if name == SPINE else name.capitalize()
    return f"\n## {title}\n\n| Code | English | French |\n|---|---|---|\n{rows}"


if __name__ == "__main__":
    sys.stdout.write(markdown())
