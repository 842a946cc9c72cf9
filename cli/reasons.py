"""Why something failed, as people read it: the sentence of its code in their language, and what the API says of this one."""

from typing import Any

from cli.text import printable
from models.domain.language import language
from models.domain.sentences import said_of_error
from models.domain.words import Language


def reason(code: Any, message: Any) -> str:
    """Empty where there is neither. A code that only a newer server knows stays one; what the API says is English."""
    code, message = printable(str(code or "")), printable(str(message or ""))
    said = said_of_error(code, language()) if code else None
    what = code if said is None else f"{said} ({code})"
    return ": ".join(part for part in (what, message if message != said else "") if part)


def in_other_language(code: str) -> str | None:
    """The sentence for people who do not read the API's English; None for those who do, and for a code without one.

    On `/v1` codes are in small letters.
    """
    spoken = language()
    return None if spoken is Language.EN else said_of_error(code.upper(), spoken)
