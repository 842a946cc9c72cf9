"""`docs/settings.md` from the settings themselves: `python -m models.settings.reference > docs/settings.md`."""

import sys

from pydantic.fields import FieldInfo

from models.settings.settings import ENV_PREFIX, Settings

HEADER = """# Settings

Every process reads these environment variables once, when it starts. An empty variable counts as not set. This table is
made from `models/settings/settings.py` (`make docs`), and a test holds both equal.

| Variable | Default | Meaning |
|---|---|---|
"""


def markdown() -> str:
    return HEADER + "".join(
        f"| `{ENV_PREFIX}{name.upper()}` | {_default(field)} | {_meaning(field)} |\n"
        for name, field in Settings.model_fields.items()
    )


def _default(field: FieldInfo) -> str:
    return "" if field.default is None else f"`{field.default}`"


def _meaning(field: FieldInfo) -> str:
    return " ".join((field.description or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(markdown())
