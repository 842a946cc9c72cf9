"""`docs/settings.md` from the settings themselves: `python -m models.settings.reference > docs/settings.md`."""

import sys

from pydantic.fields import FieldInfo

from models.base.foreign_variables import GROUPS, Group
from models.settings.settings import ENV_PREFIX, FAMILIES, Settings

HEADER = """# Settings

Every process reads these environment variables once, when it starts. An empty variable counts as not set. This table is
made from `models/settings` (`make docs`), and a test holds both equal.

| Variable | Default | Meaning |
|---|---|---|
"""

BESIDE = """
## Variables that are no settings

| Variable | Read by | Meaning |
|---|---|---|
"""

FOREIGN = """
## Variables of others

What becomes of variables that other programs and libraries read. "Removed": no program of Quarterdeck sees it, nor one that it
starts; what it would say has a setting above, or is nobody's business here. PostgreSQL and Temporal get nothing of all this, an
agent of the `local` provider `PATH`, `HOME`, `LANG`, `LC_ALL`, `LD_LIBRARY_PATH`, `TMPDIR` and what is "read". `*` stands for
whatever follows, and the first row that names a variable counts. This table is `models/base/foreign_variables.py`, which the
programs go by too ([0064](decisions/0064-variables-of-others.md)).

| Variables | What becomes of them | Why |
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
        f"| `{ENV_PREFIX}{name.upper()}` | {_default(field)} | {_meaning(field)} |\n" for name, field in _fields()
    )
    others = "".join(f"| `{ENV_PREFIX}{name}` | {reader} | {meaning} |\n" for name, (reader, meaning) in OTHERS.items())
    foreign = "".join(f"| {_names(group)} | {group.fate} | {group.why} |\n" for group in GROUPS)
    return HEADER + settings + BESIDE + others + FOREIGN + foreign


def _fields() -> list[tuple[str, FieldInfo]]:
    """Those of every installation first, then family by family."""
    of_families = [name for family in FAMILIES for name in family.model_fields]
    own = [name for name in Settings.model_fields if name not in of_families]
    return [(name, Settings.model_fields[name]) for name in (*own, *of_families)]


def _names(group: Group) -> str:
    return ", ".join(f"`{name}`" for name in group.names)


def _default(field: FieldInfo) -> str:
    return "" if field.default is None else f"`{field.default}`"


def _meaning(field: FieldInfo) -> str:
    return " ".join((field.description or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(markdown())
