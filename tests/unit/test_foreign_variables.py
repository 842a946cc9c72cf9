"""Which variables of others our programs see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psycopg.pq
import pytest

from models.base import foreign_variables
from models.base.foreign_variables import GROUPS, Fate, environment_of_a_part, fate_of, kept, leave_out
from tests.embedded.driver import ROOT
from tests.patience import GIVE_UP_S

BESIDE_PARAMETERS = ("PGDATESTYLE", "PGTZ", "PGGEQO", "PGSYSCONFDIR", "PGLOCALEDIR")
"""What libpq reads that is no parameter of a connection (PostgreSQL, "Environment Variables")."""


def read_by_libpq() -> set[str]:
    of_parameters = {option.envvar.decode() for option in psycopg.pq.Conninfo.get_defaults() if option.envvar}
    return of_parameters | set(BESIDE_PARAMETERS)


def test_the_embedded_server_sees_nothing_that_libpq_reads() -> None:
    given = dict.fromkeys(read_by_libpq(), "x")
    assert len(given) > 30
    assert kept(given, own_database=False) == {}


def test_of_what_libpq_reads_a_server_of_ones_own_sees_what_secures_the_connection() -> None:
    seen = kept(dict.fromkeys(read_by_libpq(), "x"), own_database=True)
    assert {"PGSSLMODE", "PGSSLROOTCERT", "PGPASSFILE", "PGCHANNELBINDING", "PGREQUIREAUTH"} <= seen.keys()
    never = {"PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSERVICE", "PGOPTIONS", "PGDATESTYLE",
             "PGTZ", "PGCLIENTENCODING", "PGAPPNAME", "PGCONNECT_TIMEOUT", "PGTARGETSESSIONATTRS"}  # fmt: skip
    assert never.isdisjoint(seen)


@pytest.mark.parametrize(
    ("url", "is_own"),
    [
        ({}, False),
        ({"QUARTERDECK_DATABASE_URL": ""}, False),
        ({"QUARTERDECK_DATABASE_POOL_SIZE": "4"}, False),
        ({"QUARTERDECK_DATABASE_URL": "postgresql://x/y"}, True),
        ({"quarterdeck_database_url_api": "postgresql://x/y"}, True),
    ],
)
def test_the_settings_say_whose_database_it_is(url: dict[str, str], *, is_own: bool) -> None:
    environ = {**url, "PGSSLMODE": "verify-full", "PGOPTIONS": "-c x=y"}
    assert leave_out(environ).keys() == {"PGOPTIONS"} | (set() if is_own else {"PGSSLMODE"})
    assert ("PGSSLMODE" in environ) == is_own


def test_every_group_speaks_and_no_name_is_hidden_behind_another_group() -> None:
    for place, group in enumerate(GROUPS):
        assert group.why.endswith(".")
        for name in group.names:
            assert not any(earlier.holds(name) for earlier in GROUPS[:place]), name


ONE_OF = {
    "PGSSL*": "PGSSLMODE", "PGGSS*": "PGGSSENCMODE", "PG*": "PGOPTIONS", "PSYCOPG_*": "PSYCOPG_IMPL",
    "TEMPORAL_*": "TEMPORAL_DEBUG", "WEBSOCKETS_*": "WEBSOCKETS_MAX_LINE_LENGTH", "AWS_*": "AWS_SECRET_ACCESS_KEY",
    "BOTO_*": "BOTO_CONFIG", "OVH_*": "OVH_ENDPOINT", "DD_*": "DD_API_KEY", "DATADOG_*": "DATADOG_API_KEY",
    "PYTHON*": "PYTHONWARNINGS", "PROTOCOL_BUFFERS_PYTHON_*": "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION",
    "UVICORN_*": "UVICORN_PORT", "OTEL_*": "OTEL_PROPAGATORS", "LC_*": "LC_ALL", "LD_*": "LD_BIND_NOW",
    "MALLOC_*": "MALLOC_ARENA_MAX",
}  # fmt: skip
"""Of the names that a line of the table stands for, one that somebody's program really reads."""

NAMED = [(ONE_OF.get(name, name), group.fate) for group in GROUPS for name in group.names]
OF_NOBODY = [("GIT_DIR", Fate.PASSED), ("PATH", Fate.PASSED), ("QUARTERDECK_HOME", Fate.PASSED)]


def test_every_name_of_the_table_is_tried() -> None:
    assert {name for group in GROUPS for name in group.names if name.endswith("*")} == ONE_OF.keys()


@pytest.mark.parametrize(("name", "fate"), [*NAMED, *OF_NOBODY], ids=[name for name, _ in [*NAMED, *OF_NOBODY]])
def test_the_table_decides(name: str, fate: Fate) -> None:
    """For a program of ours, and for those that `up` starts."""
    assert fate_of(name) is fate
    stays = fate in {Fate.READ, Fate.PASSED}
    removed, _, environ = settled({name: "1"} if name != "PATH" else {})
    assert removed == ([] if stays else [name])
    assert (name in environ) == stays or name == "QUARTERDECK_HOME"
    part = environment_of_a_part({name: "x"})
    assert part.pop("PYTHONPATH") == str(ROOT)
    assert part == ({name: "x"} if stays else {})


SETTLED = """
import json, os, sys, warnings
from models.base import foreign_variables
removed = foreign_variables.settle()
warnings.warn("old", DeprecationWarning)
print(json.dumps([sorted(removed), sys.path, dict(os.environ)]))
"""


def settled(given: Mapping[str, str]) -> tuple[list[str], list[str], dict[str, str]]:
    """What a program of ours that is started with these removes, where it imports from, and what it sees."""
    ran = subprocess.run(
        [sys.executable, "-c", SETTLED],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **given},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=GIVE_UP_S,
        check=True,
    )
    removed, path, environ = json.loads(ran.stdout)
    return [name for name in removed if name != "PYTHONPATH" or name in given], path, environ


def test_a_program_begins_as_if_they_had_not_been_set(tmp_path: Path) -> None:
    given = {
        "PYTHONPATH": f"{ROOT}:{tmp_path}:{tmp_path / 'missing'}", "PYTHONWARNINGS": "error", "PGOPTIONS": "-c x=y",
        "HTTP_PROXY": "http://p:1", "WEB_CONCURRENCY": "many",
    }  # fmt: skip
    removed, path, environ = settled(given)
    assert removed == ["PGOPTIONS", "PYTHONPATH", "PYTHONWARNINGS", "WEB_CONCURRENCY"]
    assert str(ROOT) in path
    assert str(tmp_path) not in path
    assert environ["HTTP_PROXY"] == "http://p:1"
    assert foreign_variables.kept(environ, own_database=False) == environ


def test_tests_see_no_variable_of_the_developer() -> None:
    assert kept(os.environ, own_database=False).keys() == os.environ.keys()
