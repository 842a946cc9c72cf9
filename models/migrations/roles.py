"""The three database roles: `quarterdeck_owner` migrates, `quarterdeck_worker` and `quarterdeck_api` are held by policies."""

from collections.abc import Mapping

import psycopg
from psycopg import sql

from models.settings.derived import DatabaseRole


def ensure_roles(admin_url: str, passwords: Mapping[DatabaseRole, str]) -> None:
    """Create the roles with these passwords (or set them), and make the owner role own the database of `admin_url`.

    `admin_url` is a superuser's. None of the three roles is a superuser or bypasses row-level security.
    """
    with psycopg.connect(admin_url) as connection:
        for role, password in passwords.items():
            name = sql.Identifier(role.value)
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role.value,)).fetchone()
            verb = sql.SQL("ALTER") if known else sql.SQL("CREATE")
            connection.execute(
                sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD {}").format(
                    verb, name, sql.Literal(password)
                )
            )
        owner = sql.Identifier(DatabaseRole.OWNER.value)
        database = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, owner))
        connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(owner))
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        for role in (DatabaseRole.WORKER, DatabaseRole.API):
            connection.execute(
                sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, sql.Identifier(role.value))
            )
