"""The functions of the database as they are now: a file each below `models/sql`, applied where it differs from what is there.

Beside its function a file holds that function's triggers, and who may execute it. A comment on the function says which text it
was made from; a function of ours without a file is dropped, and so is a trigger that no file has
(docs/decisions/0074-functions-in-files.md).
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from models.settings.derived import DatabaseRole

SOURCES = Path(__file__).parents[1] / "sql"

_DEFINED = re.compile(r"^CREATE OR REPLACE FUNCTION (\w+)\s*\(", re.MULTILINE)
_TRIGGER = re.compile(
    r"^CREATE (?:OR REPLACE|CONSTRAINT) TRIGGER (\w+)\s.*?\sON (\w+)\s.*?;$", re.MULTILINE | re.DOTALL
)
_GRANTED = re.compile(r"^GRANT EXECUTE ON FUNCTION (\w+) TO (\w+(?:, \w+)*);$", re.MULTILINE)

# Of the owner role only, and of no extension: what others made is theirs.
_OURS = text("""
SELECT p.proname::text, p.oid::regprocedure::text, coalesce(obj_description(p.oid, 'pg_proc'), '')
FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace AND p.proowner = current_user::regrole
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
""")
_TRIGGERS = text("""
SELECT c.relname::text, t.tgname::text, coalesce(obj_description(t.oid, 'pg_trigger'), '')
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
WHERE NOT t.tgisinternal AND t.tgparentid = 0
    AND p.pronamespace = 'public'::regnamespace AND p.proowner = current_user::regrole
""")
# What files say is looked at when all of them are there: in whatever order they come, each may call any other.
_LATER = text("SET LOCAL check_function_bodies = off")
_NOW = text("SET LOCAL check_function_bodies = on")
_VALIDATE = """
SELECT {language}_validator(p.oid) FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace = 'public'::regnamespace AND p.proowner = current_user::regrole AND l.lanname = '{name}'
"""
_VALIDATIONS = (
    text(_VALIDATE.format(language="fmgr_sql", name="sql")),
    text(_VALIDATE.format(language="plpgsql", name="plpgsql")),
)
_OTHER_FORM = "42P13"
"""invalid_function_definition: another result, or other names of parameters, than the function that is there."""


def _mark(path: str, text: str) -> str:
    """What is made from a text says of it."""
    return f"models/sql/{path} {hashlib.sha256(text.encode()).hexdigest()}"


@dataclass(frozen=True)
class Trigger:
    table: str
    name: str
    statement: str
    mark: str

    @property
    def is_constraint(self) -> bool:
        """One that may wait for the commit; PostgreSQL does not replace those."""
        return self.statement.startswith("CREATE CONSTRAINT")


@dataclass(frozen=True)
class DatabaseFunction:
    """One file."""

    path: str
    """From the folder of all of them, as its comment names it."""
    text: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2].removesuffix(".sql")

    @cached_property
    def definition(self) -> str:
        """The function alone."""
        return _GRANTED.sub("", _TRIGGER.sub("", self.text))

    @cached_property
    def grants(self) -> str:
        return "\n".join(found[0] for found in _GRANTED.finditer(self.text))

    @cached_property
    def mark(self) -> str:
        return _mark(self.path, _TRIGGER.sub("", self.text))

    @cached_property
    def triggers(self) -> tuple[Trigger, ...]:
        return tuple(
            Trigger(table=found[2], name=found[1], statement=found[0], mark=_mark(self.path, found[0]))
            for found in _TRIGGER.finditer(self.text)
        )

    @cached_property
    def executors(self) -> frozenset[DatabaseRole]:
        return frozenset(DatabaseRole(role) for _, roles in _GRANTED.findall(self.text) for role in roles.split(", "))


def read_functions(folder: Path = SOURCES) -> tuple[DatabaseFunction, ...]:
    """In the order of their names. Raises ValueError for a file that is not the definition of the function that it is named
    after, and for a function with two files.
    """
    found: dict[str, DatabaseFunction] = {}
    for path in sorted(folder.rglob("*.sql"), key=lambda one: (one.stem, str(one))):
        one = DatabaseFunction(path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8"))
        defined = {*_DEFINED.findall(one.text), *(name for name, _ in _GRANTED.findall(one.text))}
        if defined != {one.name} or len(_DEFINED.findall(one.text)) != 1:
            raise ValueError(f"{one.path} is to define {one.name} and nothing else")
        if one.name in found:
            raise ValueError(f"{one.path} defines what {found[one.name].path} defines")
        found[one.name] = one
    return tuple(found.values())


def apply_functions(connection: Connection, wanted: Iterable[DatabaseFunction]) -> None:
    """In the transaction of `connection`, whose role owns everything. Where all is as the files say, nothing is written.

    Raises sqlalchemy.exc.DBAPIError: a body does not fit the tables, or something else depends on a function that has to go.
    """
    functions = {one.name: one for one in wanted}
    marks = _marks(connection)
    triggers = {(table, name): mark for table, name, mark in connection.execute(_TRIGGERS)}
    declared = {(one.table, one.name): one for function in functions.values() for one in function.triggers}
    for table, name in sorted(triggers.keys() - declared.keys()):
        connection.execute(text(f'DROP TRIGGER "{name}" ON "{table}"'))
    connection.execute(_LATER)
    for one in functions.values():
        there = marks.get(one.name, {})
        if list(there.values()) != [one.mark]:
            _replace(connection, one, set(there))
    for key, trigger in sorted(declared.items()):
        # One without a mark is a migration's, and as it is in its file: to make it again would keep writers from its table.
        if triggers.get(key) not in ("", trigger.mark):
            if key in triggers and trigger.is_constraint:
                connection.execute(text(f'DROP TRIGGER "{trigger.name}" ON "{trigger.table}"'))
            _run(connection, trigger.statement)
            connection.execute(text(f'COMMENT ON TRIGGER "{trigger.name}" ON "{trigger.table}" IS \'{trigger.mark}\''))
    for name in sorted(marks.keys() - functions.keys()):
        _drop(connection, marks[name])
    connection.execute(_NOW)
    for validation in _VALIDATIONS:
        connection.execute(validation)


def are_applied(connection: Connection, wanted: Iterable[DatabaseFunction]) -> bool:
    """Whether the functions of the connection's role are those of the files."""
    found = {name: list(marks.values()) for name, marks in _marks(connection).items()}
    return found == {one.name: [one.mark] for one in wanted}


def _marks(connection: Connection) -> dict[str, dict[str, str]]:
    """By name and signature the mark of each function that is there."""
    found: dict[str, dict[str, str]] = {}
    for name, signature, mark in connection.execute(_OURS):
        found.setdefault(name, {})[signature] = mark
    return found


def _replace(connection: Connection, function: DatabaseFunction, before: set[str]) -> None:
    """One name is one function: what it was with other parameters goes, or the calls of an older process would fit both."""
    try:
        with connection.begin_nested():
            _run(connection, function.definition)
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != _OTHER_FORM:
            raise
        _drop(connection, before)
        before = set()
        _run(connection, function.definition)
    made = set(_marks(connection)[function.name])
    if len(made) > 1:
        _drop(connection, before)
        made -= before
    if not made:  # it was one of several
        _run(connection, function.definition)
        made = set(_marks(connection)[function.name])
    [signature] = made
    if function.grants:  # they name it without its parameters: there is one of the name by now
        _run(connection, function.grants)
    connection.execute(text(f"COMMENT ON FUNCTION {signature} IS '{function.mark}'"))


def _drop(connection: Connection, signatures: Iterable[str]) -> None:
    for signature in sorted(signatures):
        connection.execute(text(f"DROP FUNCTION {signature}"))


def _run(connection: Connection, statements: str) -> None:
    """As they stand: nothing in them is a placeholder."""
    connection.exec_driver_sql(statements, execution_options={"no_parameters": True})
