"""The language in which programs of people's own say what they make sentences of: that of the environment, else English."""

import os

from models.domain.words import Language

VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
"""The first that is set decides, as everywhere."""


def language() -> Language:
    wanted = next((value for name in VARIABLES if (value := os.environ.get(name))), "")
    return Language.FR if wanted.lower().startswith("fr") else Language.EN
