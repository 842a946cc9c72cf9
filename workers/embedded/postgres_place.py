"""Where a home keeps its database, and whether what lies there is its own: a home may have been copied, or moved.

The record `<home>/postgres.json` names a folder below the home by its relative path: a copy of the home has a copy of the data.
Where root's PostgreSQL cannot pass to the home, the data lie elsewhere (`postgres_program.REACHABLE_ROOT`), under the id of the
home, and a file beside them names the home in turn. A copy of the home has the same record, is another folder, and is refused.
"""

import hashlib
import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from models.base.ids import new_text_id
from models.base.private_files import NotPrivate, read_private
from models.settings.derived import POSTGRES_FILE
from workers.embedded import postgres_program
from workers.embedded.account import Account
from workers.embedded.errors import StartError
from workers.embedded.home import Place, place_from, place_of, write_private
from workers.embedded.ports import free_port
from workers.embedded.processes import ProcessIdentity, command_line, identify

INSIDE = "postgres"
"""The folder's name where it is below the home."""


@dataclass(frozen=True)
class PostgresRecord:
    """`postgres.json`. It is there before the database is made, and says so once it is: what is missing then is lost."""

    home_id: str
    folder: str
    """Relative to the home, or an absolute path."""
    port: int
    password: str = field(repr=False)
    is_initialised: bool


def read_record(home: Path) -> PostgresRecord | None:
    """None where there never was a database. One of an earlier version is read as one of this. Raises StartError."""
    path = home / POSTGRES_FILE
    try:
        content = json.loads(read_private(path))
        folder = _in_this_form(home, str(content["folder"]))
        port, password = int(content["port"]), str(content["password"])
    except FileNotFoundError:
        return None
    except NotPrivate as error:
        raise StartError(str(error)) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StartError(f"{path} cannot be read ({type(error).__name__}); it holds the database's password") from None
    home_id, is_initialised = content.get("home_id"), content.get("initialised", True)
    return PostgresRecord(str(home_id or new_text_id()), folder, port, password, bool(is_initialised))


def new_record(home: Path, account: Account | None) -> PostgresRecord:
    home_id = new_text_id()
    is_reachable = account is None or account.can_reach(home / INSIDE)
    folder = INSIDE if is_reachable else str(postgres_program.REACHABLE_ROOT / home_id)
    return PostgresRecord(home_id, folder, free_port(), secrets.token_urlsafe(24), is_initialised=False)


def write_record(home: Path, record: PostgresRecord) -> None:
    content = {
        "home_id": record.home_id,
        "folder": record.folder,
        "port": record.port,
        "password": record.password,
        "initialised": record.is_initialised,
    }
    write_private(home / POSTGRES_FILE, json.dumps(content))


def folder_of(home: Path, record: PostgresRecord) -> Path:
    return home / record.folder


def refuse_elsewhere(home: Path, record: PostgresRecord, account: Account | None) -> None:
    """Raises StartError for data that another home has, and for a home that PostgreSQL's account cannot pass to."""
    folder = folder_of(home, record)
    if Path(record.folder).is_absolute():
        _refuse_of_another_home(home, record, folder)
    elif account is not None and not account.can_reach(folder):
        closed = account.first_closed(folder)
        raise StartError(
            f"PostgreSQL's user cannot pass through {closed} to {folder}: move the home elsewhere, or `chmod o+x {closed}`"
        )


def claim(home: Path, record: PostgresRecord) -> None:
    """Beside data that lie elsewhere it says from now on that they are this home's. Call `refuse_elsewhere` before."""
    if Path(record.folder).is_absolute():
        content = {"home_id": record.home_id, **asdict(place_of(home))}
        write_private(_owner_file(folder_of(home, record)), json.dumps(content))


def remove(home: Path, record: PostgresRecord) -> None:
    """The data of a home, unless another one has them. No server may run on them."""
    folder = folder_of(home, record)
    if Path(record.folder).is_absolute():
        owner = _owner_of(folder)
        if owner is None or not owner.is_same_folder(place_of(home)):
            return
        _owner_file(folder).unlink()
    shutil.rmtree(folder, ignore_errors=True)


def server_of(data: Path) -> ProcessIdentity | None:
    """The server that works in this very directory; whoever else `postmaster.pid` names is nobody's to end.

    The process id there may be anybody's after a power cut, and in a copy it is that of the original's server. The directory that
    a server works in is the one it has open, whatever it was called when it started.
    """
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        works_here = "-D" in command_line(pid) and Path(psutil.Process(pid).cwd()).samefile(data)
    except (OSError, ValueError, psutil.Error):
        return None
    return identify(pid, tuple(command_line(pid))) if works_here else None


def _in_this_form(home: Path, folder: str) -> str:
    """Earlier versions wrote absolute paths, of wherever the home was then."""
    path = Path(folder)
    if not path.is_absolute():
        return folder
    return folder if path.parent == postgres_program.REACHABLE_ROOT else INSIDE


def _refuse_of_another_home(home: Path, record: PostgresRecord, folder: Path) -> None:
    here, owner = place_of(home), _owner_of(folder)
    server = server_of(folder / "data")
    if owner is None:
        is_ours = folder.name in {record.home_id, _name_of_before(home)}
    else:
        is_ours = owner.is_same_folder(here)
        if not is_ours and owner.path != here.path and _is_still_there(owner, folder):
            raise StartError(
                f"{home} is a copy of {owner.path}, whose database is in {folder}: start that one, or make another installation "
                "with `quarterdeck backup` and `quarterdeck restore`"
            )
    if server is not None and not is_ours:
        raise StartError(
            f"another home works with the database in {folder}, which {home} names too: stop that one; where this one is a copy "
            "of it, use `quarterdeck backup` and `quarterdeck restore` instead"
        )


def _is_still_there(owner: Place, folder: Path) -> bool:
    """Whether the home that the data belong to still names them."""
    try:
        record = read_record(Path(owner.path))
    except StartError:
        return True  # a record that cannot be read is there
    return record is not None and folder_of(Path(owner.path), record) == folder


def _owner_of(folder: Path) -> Place | None:
    """Raises StartError for a file that is not believed."""
    try:
        content: Mapping[str, object] = json.loads(read_private(_owner_file(folder)))
    except FileNotFoundError:
        return None
    except NotPrivate as error:
        raise StartError(str(error)) from None
    except (OSError, ValueError) as error:
        raise StartError(f"{_owner_file(folder)} cannot be read ({type(error).__name__})") from None
    return place_from(content)


def _owner_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def _name_of_before(home: Path) -> str:
    """How earlier versions called the folder of a home elsewhere."""
    return hashlib.sha256(str(home).encode()).hexdigest()[:16]
