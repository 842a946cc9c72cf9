"""Whether what belongs together in a home is there: a key without its database, or the reverse, is half an installation.

A start that was killed leaves none of these: the record of the database comes before the data and says when they are complete,
and the administrator's file comes after both.
"""

from pathlib import Path

from models.settings import Settings
from models.settings.derived import KEY_FILE
from workers.embedded.account import Account
from workers.embedded.errors import StartError
from workers.embedded.home import Home
from workers.embedded.postgres_place import (
    INSIDE,
    PostgresRecord,
    folder_of,
    read_record,
    refuse_elsewhere,
)

RESTORING = "restore.partial"
"""In a home that a restore writes to, until it is complete."""

ANEW = "restore a backup (`quarterdeck restore`), or remove the home to begin anew"


def refuse_half_a_home(settings: Settings, account: Account | None) -> None:
    """Before anything is made in it. Raises StartError."""
    home = Home(settings.home)
    if (home.path / RESTORING).exists():
        raise StartError(f"a restore into {home.path} did not come to its end: run `quarterdeck restore` again")
    if settings.database_url is not None:
        return
    record = read_record(home.path)
    if record is None:
        refuse_lost_database(home.path)
        return
    refuse_elsewhere(home.path, record, account)
    refuse_missing_data(home.path, record)
    has_key = settings.installation_key is not None or (home.path / KEY_FILE).exists()
    if record.is_initialised and not has_key:
        raise StartError(
            f"{home.path / KEY_FILE} is missing, and what the database keeps is sealed with it: put it back; or {ANEW}"
        )


def refuse_lost_database(home: Path) -> None:
    """For a home without `postgres.json`. Raises StartError where there was a database: another would be empty."""
    if (home / INSIDE / "data").exists():
        raise StartError(
            f"{home / 'postgres.json'} is missing, with the password of the database in {home / INSIDE}: {ANEW}"
        )
    if Home(home).admin_file.exists():
        raise StartError(f"{home} has an installation whose database is missing: {ANEW}")


def refuse_missing_data(home: Path, record: PostgresRecord) -> None:
    """Raises StartError where a database that was there is not any more."""
    folder = folder_of(home, record)
    if record.is_initialised and not (folder / "data").exists():
        raise StartError(f"the database of {home} is missing, it should be in {folder}: put it back; or {ANEW}")
