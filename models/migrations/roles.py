"""The database roles: `quarterdeck_owner` owns and cannot log in; policies hold `quarterdeck_worker` and `quarterdeck_api`."""

from collections.abc import Mapping

import psycopg
from psycopg import sql

from models.settings.derived import OWNER_ROLE, DatabaseRole


def ensure_roles(admin_url: str, passwords: Mapping[DatabaseRole, str]) -> None:
    """Create the roles (or set what they are), and make the owner role own the database of `admin_url`.

    `admin_url` is a superuser's. None of the roles is a superuser or bypasses row-level security. An owner role of before, which
    could log in, cannot any more.
    """
    with psycopg.connect(admin_url) as connection:
        _ensure(connection, OWNER_ROLE, sql.SQL("NOLOGIN PASSWORD NULL"))
        for role, password in passwords.items():
            _ensure(connection, role.value, sql.SQL("LOGIN PASSWORD {}").format(sql.Literal(password)))
        owner = sql.Identifier(OWNER_ROLE)
        database = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, owner))
        connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(owner))
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        for role in DatabaseRole:
            connection.execute(
                sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, sql.Identifier(role.value))
            )


def _ensure(connection: psycopg.Connection, role: str, login: sql.Composable) -> None:
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
    connection.execute(
        sql.SQL("{} ROLE {} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS {}").format(
            sql.SQL("ALTER") if known else sql.SQL("CREATE"), sql.Identifier(role), login
        )
    )
