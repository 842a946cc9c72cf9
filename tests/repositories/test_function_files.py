"""Functions are files: what is in them is in the database, and whatever happened to it, the next migration brings that back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from models.migrations import is_current, upgrade
from models.migrations.functions import DatabaseFunction, apply_functions, are_applied, read_functions
from tests.factories.owning import owning
from tests.servers import TestDatabase

FILES = read_functions()

STATE = """
SELECT p.proname, pg_get_functiondef(p.oid), p.xmin::text, obj_description(p.oid, 'pg_proc')
FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT t.tgname, pg_get_triggerdef(t.oid), t.xmin::text, NULL
FROM pg_trigger t WHERE NOT t.tgisinternal AND t.tgparentid = 0
ORDER BY 1, 2
"""


def state(database: TestDatabase) -> list[tuple[Any, ...]]:
    """Functions and triggers, with the transaction that wrote each: what was made again as it was, shows."""
    with psycopg.connect(database.admin) as connection:
        return connection.execute(STATE).fetchall()


def definitions(database: TestDatabase) -> dict[tuple[str, str], str | None]:
    return {(name, definition): mark for name, definition, _, mark in state(database)}


def as_owner(database: TestDatabase, *statements: str) -> None:
    with psycopg.connect(database.owner) as connection:
        for statement in statements:
            connection.execute(statement)


def applied(database: TestDatabase, *more: DatabaseFunction) -> None:
    with owning(database) as connection:
        apply_functions(connection, [*FILES, *more])


def answer(database: TestDatabase, question: str) -> Any:
    with owning(database) as connection:
        return connection.execute(text(question)).scalar_one()


def one(body: str, *, name: str = "tally", head: str = "() RETURNS int") -> DatabaseFunction:
    text = f"CREATE OR REPLACE FUNCTION {name}{head} LANGUAGE sql AS $$ {body} $$;\n"
    return DatabaseFunction(f"toys/{name}.sql", text)


def test_every_function_and_trigger_has_its_file_and_every_file_is_applied(module_database: TestDatabase) -> None:
    with psycopg.connect(module_database.admin) as connection:
        triggers = connection.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal AND tgparentid = 0"
        ).fetchall()
    marks = {name: mark for name, definition, _, mark in state(module_database) if "FUNCTION public." in definition}
    assert marks == {file.name: file.mark for file in FILES}
    assert set(triggers) == {(trigger.table, trigger.name) for file in FILES for trigger in file.triggers}
    assert len(FILES) > 50
    assert len(triggers) > 10


def test_applied_again_nothing_is_written(database: TestDatabase) -> None:
    before = state(database)
    applied(database)
    assert state(database) == before


def test_what_became_of_functions_and_triggers_is_put_back(database: TestDatabase) -> None:
    before = definitions(database)
    as_owner(
        database,
        "DROP TRIGGER outbox_inserted ON outbox",
        "DROP FUNCTION claim_outbox, purge_expired",
        "CREATE FUNCTION purge_expired(p_kept_s int) RETURNS int LANGUAGE sql AS 'SELECT p_kept_s'",
        "CREATE FUNCTION segment_cost_eur() RETURNS int LANGUAGE sql AS 'SELECT 0'",
        "CREATE FUNCTION forgotten() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER forgotten_too AFTER INSERT ON users EXECUTE FUNCTION forgotten()",
        "CREATE TRIGGER twice AFTER INSERT ON outbox EXECUTE FUNCTION notify_outbox()",
        "COMMENT ON FUNCTION settle_outbox IS 'models/sql/settle_outbox.sql of another version'",
    )
    assert definitions(database) != before
    assert not is_current(database.owner)
    upgrade(database.owner)
    assert definitions(database) == before
    assert is_current(database.owner)


def test_triggers_of_migrations_are_those_of_the_files(database: TestDatabase) -> None:
    """They are left as they are, and other ones go by other names: to make one again keeps writers from its table."""
    before = definitions(database)
    as_owner(database, *(f"DROP TRIGGER {one.name} ON {one.table}" for file in FILES for one in file.triggers))
    applied(database)
    assert definitions(database) == before


def test_a_trigger_that_changed_is_applied(database: TestDatabase) -> None:
    head = "CREATE OR REPLACE FUNCTION wound() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';\n"
    trigger = "CREATE OR REPLACE TRIGGER toy_wound AFTER {} ON users FOR EACH ROW EXECUTE FUNCTION wound();\n"
    for event in ("INSERT", "DELETE"):
        file = DatabaseFunction("toys/wound.sql", head + trigger.format(event))
        applied(database, file)
        [definition] = [text for name, text, *_ in state(database) if name == "toy_wound"]
        assert f"AFTER {event} ON public.users" in definition
        before = state(database)
        applied(database, file)
        assert state(database) == before


def test_a_text_that_changed_is_applied_and_one_that_is_gone_is_dropped(database: TestDatabase) -> None:
    applied(database, one("SELECT 1"))
    assert answer(database, "SELECT tally()") == 1
    applied(database, one("SELECT 2"))
    assert answer(database, "SELECT tally()") == 2
    applied(database)
    with pytest.raises(ProgrammingError, match="does not exist"):
        answer(database, "SELECT tally()")


def test_a_function_may_become_one_of_another_form(database: TestDatabase) -> None:
    applied(database, one("SELECT p_a", head="(p_a int) RETURNS int"))
    applied(database, one("SELECT 'text'", head="(p_b int) RETURNS text"))
    assert answer(database, "SELECT tally(1)") == "text"


def test_who_calls_as_before_gets_the_new_one_with_its_defaults(database: TestDatabase) -> None:
    applied(database, one("SELECT p_a", head="(p_a int) RETURNS int"))
    applied(database, one("SELECT p_a + p_b", head="(p_a int, p_b int DEFAULT 5) RETURNS int"))
    assert answer(database, "SELECT tally(1)") == 6
    assert answer(database, "SELECT count(*) FROM pg_proc WHERE proname = 'tally'") == 1


def test_they_are_applied_beside_a_process_that_writes(database: TestDatabase) -> None:
    """The version before goes on meanwhile: nothing waits for its transactions, nor do they."""
    tables = sorted({trigger.table for file in FILES for trigger in file.triggers})
    changed = [DatabaseFunction(file.path, f"-- another version\n{file.text}") for file in FILES]
    with psycopg.connect(database.admin) as writer:
        writer.execute(f"LOCK TABLE {', '.join(tables)} IN ROW EXCLUSIVE MODE")
        with owning(database) as connection:
            connection.execute(text("SET LOCAL lock_timeout = '1s'"))
            apply_functions(connection, changed)
            assert are_applied(connection, changed)
    assert len(tables) > 5


def test_functions_that_call_one_another_come_in_any_order(database: TestDatabase) -> None:
    applied(database, one("SELECT later()", name="earlier"), one("SELECT 7", name="later"))
    assert answer(database, "SELECT earlier()") == 7


@pytest.mark.parametrize("body", ["SELECT nothing FROM operations", "SELECT absent()", "SELECT"])
def test_a_body_that_does_not_fit_is_found_when_it_is_applied(database: TestDatabase, body: str) -> None:
    before = state(database)
    with pytest.raises(DBAPIError):
        applied(database, one(body))
    assert state(database) == before


def test_a_table_that_a_function_needs_does_not_change_unseen(database: TestDatabase) -> None:
    as_owner(database, "ALTER TABLE outbox RENAME COLUMN last_error_code TO code")
    with pytest.raises(DBAPIError, match="last_error_code"):
        applied(database)


def test_what_others_made_is_theirs(database: TestDatabase) -> None:
    with psycopg.connect(database.admin) as connection:
        connection.execute("CREATE FUNCTION report() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    applied(database)
    with psycopg.connect(database.admin) as connection:
        assert connection.execute("SELECT report(), '[1]'::vector IS NULL").fetchone() == (1, False)


def test_who_may_execute_is_read_from_the_file(database: TestDatabase) -> None:
    function = one("SELECT 1")
    applied(
        database,
        DatabaseFunction(function.path, function.text + "GRANT EXECUTE ON FUNCTION tally TO quarterdeck_worker;\n"),
    )
    with psycopg.connect(database.worker) as connection:
        assert connection.execute("SELECT tally()").fetchone() == (1,)
    with psycopg.connect(database.api) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute("SELECT tally()")


def test_whether_they_are_applied_is_told_without_writing(database: TestDatabase) -> None:
    with owning(database) as connection:
        assert are_applied(connection, FILES)
        assert not are_applied(connection, FILES[1:])
        assert not are_applied(connection, [*FILES, one("SELECT 1")])


@pytest.mark.parametrize(
    "files",
    [
        {"tally.sql": "SELECT 1;"},
        {"tally.sql": "CREATE OR REPLACE FUNCTION other() RETURNS int LANGUAGE sql AS 'SELECT 1';"},
        {"tally.sql": one("SELECT 1").text + one("SELECT 1", name="other").text},
        {"tally.sql": one("SELECT 1").text + "GRANT EXECUTE ON FUNCTION other TO quarterdeck_api;\n"},
        {"tally.sql": one("SELECT 1").text, "toys/tally.sql": one("SELECT 1").text},
    ],
)
def test_a_file_is_one_function_and_a_function_one_file(tmp_path: Path, files: dict[str, str]) -> None:
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content)
    with pytest.raises(ValueError, match=r"is to define tally|defines what"):
        read_functions(tmp_path)
