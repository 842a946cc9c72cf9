"""Environment variables that are not ours: which of them our programs see, and why. `docs/settings.md` has this as a table.

Imports nothing but the standard library: it comes before everything else in a program.
"""

import os
import site
import sys
import sysconfig
import warnings
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The folder of our packages."""

OWN_DATABASE = "QUARTERDECK_DATABASE_URL"
"""With one of the variables that begin so, the server is one that somebody else runs."""

QUIET_BY_DEFAULT = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
"""Python's default filter (docs.python.org/3/library/warnings.html)."""


class Fate(StrEnum):
    """What becomes of a variable. The text is what the table says."""

    READ = "read"
    PASSED = "passed on"
    OWN_DATABASE = "read with a database of your own, else removed"
    REMOVED = "removed"


@dataclass(frozen=True)
class Group:
    """Variables that share a fate. A name that ends in `*` stands for all that begin so; the first group with a name has it."""

    names: tuple[str, ...]
    fate: Fate
    why: str

    def holds(self, name: str) -> bool:
        return any(name.startswith(one[:-1]) if one.endswith("*") else name == one for one in self.names)


GROUPS = (
    Group(
        ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
        Fate.READ,
        "Calls to other machines: those of `quarterdeck` to its API, of a worker to a provider, of the API to a model server, of "
        "an agent to the API, and to Temporal with TLS. Never for this machine, nor for PostgreSQL, Temporal without TLS and "
        "addresses that customers give (see docs/operating.md, Behind a proxy).",
    ),
    Group(
        ("SSL_CERT_FILE", "SSL_CERT_DIR"),
        Fate.READ,
        "Authorities that are trusted in calls to other machines, in place of those that come along.",
    ),
    Group(
        ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSLKEYLOGFILE"),
        Fate.REMOVED,
        "`SSL_CERT_FILE` says which authorities are trusted; the keys of connections are written nowhere.",
    ),
    Group(
        (
            "PGSSL*", "PGGSS*", "PGKRBSRVNAME", "PGREQUIREAUTH", "PGREQUIREPEER", "PGREQUIRESSL", "PGCHANNELBINDING",
            "PGPASSFILE", "PGSERVICEFILE", "PGSYSCONFDIR",
        ),
        Fate.OWN_DATABASE,
        "How a connection is secured, and where its password is. The URL precedes them.",
    ),
    Group(
        ("PG*", "PSYCOPG_*"),
        Fate.REMOVED,
        "Where the database is and how it answers (address, options, encoding, date style, time zone) is up to the URL alone.",
    ),
    Group(
        ("TEMPORAL_*",),
        Fate.REMOVED,
        "`QUARTERDECK_TEMPORAL_*` says where Temporal is; `TEMPORAL_DEBUG` would switch the sandbox of workflows off.",
    ),
    Group(
        ("WEBSOCKETS_*",),
        Fate.REMOVED,
        "How much of a handshake the API reads, and what a library tells of itself.",
    ),
    Group(
        ("AWS_*", "BOTO_*", "OVH_*", "DD_*", "DATADOG_*"),
        Fate.REMOVED,
        "Credentials of a vendor's tools: nothing is rented or reported on an account that nobody gave to Quarterdeck.",
    ),
    Group(
        ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONNOUSERSITE", "PYTHONUNBUFFERED"),
        Fate.PASSED,
        "They change nothing of what runs.",
    ),
    Group(
        ("PYTHON*",),
        Fate.REMOVED,
        "Nothing of others is imported, no warning is made an error. Parts see the folder of Quarterdeck as their only "
        "`PYTHONPATH`. The Python that you call has read them before: what it imported at its start stays (see `doctor`).",
    ),
    Group(
        ("PROTOCOL_BUFFERS_PYTHON_*",), Fate.REMOVED, "Temporal's messages are read by the implementation that comes along."
    ),
    Group(
        ("UVICORN_*", "FORWARDED_ALLOW_IPS", "WEB_CONCURRENCY"),
        Fate.REMOVED,
        "`QUARTERDECK_API_HOST`, `_API_PORT` and `_TRUSTED_PROXIES` say it.",
    ),
    Group(("NOTIFY_SOCKET",), Fate.READ, "By `quarterdeck up`, which tells systemd when it is ready; its parts do not get it."),
    Group(("OTEL_*",), Fate.REMOVED, "There is no telemetry that they could direct."),
    Group(
        ("TMPDIR", "TEMP", "TMP"),
        Fate.PASSED,
        "Nothing that is kept is written there; what is replaced at once is written beside what it replaces.",
    ),
    Group(
        ("LANG", "LANGUAGE", "LC_*", "TZ"),
        Fate.PASSED,
        "Texts for terminals. What is kept is UTF-8 and UTC; PostgreSQL runs with `LC_ALL=C`.",
    ),
    Group(
        ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERM"),
        Fate.PASSED,
        "Read by `quarterdeck` at a terminal.",
    ),
    Group(
        ("LD_*", "MALLOC_*", "GLIBC_TUNABLES"),
        Fate.PASSED,
        "Of the system's loader and memory: whoever sets them means every program. PostgreSQL and Temporal see none.",
    ),
)  # fmt: skip
"""Whatever is in none of these is passed on, and nothing of ours reads it (`GIT_*`, `HOST`, `PORT`, …)."""


def fate_of(name: str) -> Fate:
    return next((group.fate for group in GROUPS if group.holds(name)), Fate.PASSED)


def kept(environ: Mapping[str, str], *, own_database: bool) -> dict[str, str]:
    """What our programs see of it. `own_database`: PostgreSQL is not the one that `quarterdeck up` runs."""
    seen = {Fate.READ, Fate.PASSED} | ({Fate.OWN_DATABASE} if own_database else set())
    return {name: value for name, value in environ.items() if fate_of(name) in seen}


def names_a_database(environ: Mapping[str, str]) -> bool:
    return any(value and name.upper().startswith(OWN_DATABASE) for name, value in environ.items())


def environment_of_a_part(environ: Mapping[str, str], *, own_database: bool | None = None) -> dict[str, str]:
    """What a Python program of ours is started with. `own_database` None: as the variables themselves say."""
    is_own = names_a_database(environ) if own_database is None else own_database
    return {**kept(environ, own_database=is_own), "PYTHONPATH": str(ROOT)}


def leave_out(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Remove in place what our programs do not see, and return it. Libraries in C read the same environment."""
    remaining = kept(environ, own_database=names_a_database(environ))
    return {name: environ.pop(name) for name in environ.keys() - remaining.keys()}


def settle() -> dict[str, str]:
    """For the beginning of a program: as if the variables that are removed had never been set, as far as that can still be had.

    Returns what was removed.
    """
    _forget_foreign_modules(os.environ.get("PYTHONPATH", ""))
    if os.environ.get("PYTHONWARNINGS"):
        warnings.resetwarnings()
        for category in QUIET_BY_DEFAULT:
            warnings.simplefilter("ignore", category)
    return leave_out(os.environ)


def _forget_foreign_modules(python_path: str) -> None:
    """Import from no folder of `PYTHONPATH` but our own and Python's: other projects have a `models` and an `api` too."""
    foreign = foreign_folders(python_path)
    sys.path[:] = [folder for folder in sys.path if folder not in foreign]


def foreign_folders(python_path: str) -> set[str]:
    """Those of `PYTHONPATH` that are neither ours nor Python's, as `sys.path` spells them."""
    given = {str(Path(entry).absolute()) for entry in python_path.split(os.pathsep) if entry}
    return given - {*sysconfig.get_paths().values(), *site.getsitepackages(), str(ROOT)}
