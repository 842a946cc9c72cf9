"""`python -m workers bootstrap --admin-file PATH`: a migrated database becomes an installation that someone can sign in to.

Run at every start, after the migrations. It adds what is missing (`models.repositories.fleet.seeding`), and on the first
start of all creates the organization and its administrator. Run again it changes nothing of that and prints nothing; killed
anywhere, the next run finishes the work with the same credentials (`workers.admin_file`). Password and key are printed only
to a terminal or to who asks for them: what a container prints is kept in a log. Every run looks at the served instances of
this machine (`workers.fleet.first_look`).
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from models.base.errors import AppError, ProviderUnavailable
from models.domain.identity.api_keys import ApiKeyText, new_api_key
from models.domain.identity.passwords import hash_password, new_password
from models.migrations import is_current
from models.repositories.database import Database
from models.repositories.fleet.seeding import Host, seed
from models.repositories.identity import founding
from models.settings import Settings, SettingsError, load_settings
from models.settings.derived import admin_url, as_owner, public_url, temporal_ui_url
from workers.admin_file import NOT_SET, AdminCredentials, AdminFile, AdminFileError
from workers.fleet.first_look import report_dead_agents

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2


def main(argv: Sequence[str]) -> int:
    """0 when the installation stands, 1 when the database is away or refuses, 2 when configuration or file cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m workers bootstrap", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--admin-file", type=Path, required=True, help="where the administrator's credentials are written"
    )
    parser.add_argument(
        "--show-credentials", action="store_true", help="print password and API key where it is no terminal, too"
    )
    arguments = parser.parse_args(argv)
    try:
        settings = load_settings()
        created = asyncio.run(bootstrap(settings, AdminFile(arguments.admin_file)))
    except (SettingsError, AdminFileError) as error:
        return _refuse(str(error), EXIT_USAGE)
    except OSError as error:
        return _refuse(f"{arguments.admin_file}: {error.strerror or type(error).__name__}", EXIT_USAGE)
    except AppError as error:
        return _refuse(error.message, EXIT_FAILED)
    if created is not None:
        is_for_eyes = arguments.show_credentials or sys.stdout.isatty()
        sys.stdout.write((_announcement if is_for_eyes else _whereabouts)(created, arguments.admin_file))
    return EXIT_OK


async def bootstrap(settings: Settings, file: AdminFile) -> AdminCredentials | None:
    """Credentials that became good and were not shown before; None when there is nothing new.

    Raises SettingsError, AdminFileError, OSError (the file cannot be written: then nothing was committed), AppError.
    """
    url = as_owner(admin_url(settings))
    database = Database(url, pool_size=1, application_name="quarterdeck-bootstrap")
    try:
        async with database.system() as session:
            await founding.lock(session)
            await _refuse_other_schema(url)
            await founding.ensure_installation(session)
            await seed(session, Host(settings.runner_zone, psutil.virtual_memory().total // 2**30))
            if not await founding.has_superadmin(session):
                credentials = _intended(settings, file)
                await founding.found(
                    session,
                    founding.Founder(
                        credentials.email, hash_password(credentials.password), ApiKeyText(credentials.api_key)
                    ),
                    name=settings.organization_name,
                    slug=settings.organization_slug,
                )
        pending = file.read_pending()
        is_good = False
        if pending is not None:
            async with database.system() as session:
                is_good = await founding.knows_api_key(session, ApiKeyText(pending.api_key))
        await _look_at_served_instances(settings, database)
    finally:
        await database.close()
    if is_good:
        file.publish()
    else:
        file.discard_pending()
    file.update_addresses(api_url=public_url(settings), temporal_ui_url=temporal_ui_url(settings))
    return pending if is_good else None


async def _look_at_served_instances(settings: Settings, database: Database) -> None:
    """What cannot be looked at is said, and stops nobody: their owners find out by themselves, later."""
    try:
        await report_dead_agents(database, settings)
    except ProviderUnavailable as error:
        sys.stderr.write(f"bootstrap: the served instances cannot be looked at: {error.message}\n")


def _intended(settings: Settings, file: AdminFile) -> AdminCredentials:
    """The credentials to make good: those of an interrupted start, those the operator has already, or new ones."""
    existing = file.read_pending() or file.read()
    if existing is not None:
        return existing
    credentials = AdminCredentials(
        email=settings.admin_email.lower(),
        password=new_password(),
        api_key=new_api_key().plaintext,
        api_url=public_url(settings),
        temporal_ui_url=temporal_ui_url(settings),
    )
    file.prepare(credentials)
    return credentials


async def _refuse_other_schema(url: str) -> None:
    if not await asyncio.to_thread(is_current, url):
        raise SettingsError("the database is not at this version's schema; run `quarterdeck migrate` first")


def _announcement(credentials: AdminCredentials, path: Path) -> str:
    return (
        f"The installation has its administrator. This is shown once; {path} keeps it, readable by you only.\n"
        f"  e-mail    {credentials.email}\n"
        f"  password  {credentials.password}\n"
        f"  API key   {credentials.api_key}\n"
        f"  API       {credentials.api_url}\n"
        f"  Temporal  {credentials.temporal_ui_url or NOT_SET}\n"
    )


def _whereabouts(credentials: AdminCredentials, path: Path) -> str:
    return (
        f"The installation has its administrator, {credentials.email}.\n"
        f"Password and API key are in {path}, readable by its owner only.\n"
    )


def _refuse(message: str, code: int) -> int:
    sys.stderr.write(f"bootstrap: {message}\n")
    return code
