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

BESIDE = """
## Variables that are no settings

| Variable | Read by | Meaning |
|---|---|---|
"""

OTHERS = {
    "API_URL": (
        "`quarterdeck`",
        "Address of the API that the command line talks to. Default: that of `<home>/admin.json`.",
    ),
    "API_KEY": (
        "`quarterdeck`",
        "Its API key. Default: that of `<home>/admin.json`, sent to the API of that file only.",
    ),
    "READY_FILE": (
        "`worker`",
        "File that a worker creates once it polls its queues, for a health check; nobody removes it.",
    ),
    "CRASH_AT": (
        "`worker`",
        "For tests: `activity:point[@n]`, where the process kills itself (see docs/decisions/0011-crash-points.md).",
    ),
    "CRASH_ONCE": (
        "`worker`",
        "For tests: path of a file that is created at that kill; no process kills itself while it is there.",
    ),
}
"""Read where they are needed, not with the settings: the command line runs without them, a supervisor sets the others."""


def markdown() -> str:
    settings = "".join(
        f"| `{ENV_PREFIX}{name.upper()}` | {_default(field)} | {_meaning(field)} |\n"
        for name, field in Settings.model_fields.items()
    )
    others = "".join(f"| `{ENV_PREFIX}{name}` | {reader} | {meaning} |\n" for name, (reader, meaning) in OTHERS.items())
    return HEADER + settings + BESIDE + others


def _default(field: FieldInfo) -> str:
    return "" if field.default is None else f"`{field.default}`"


def _meaning(field: FieldInfo) -> str:
    return " ".join((field.description or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(markdown())
