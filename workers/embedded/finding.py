"""What a check of `quarterdeck doctor` found. Imports nothing but the standard library, like the doctor."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """`remedy` is shown where it is not `ok`: a sentence, or empty where the text says it."""

    check: str
    ok: bool
    text: str
    remedy: str = ""
