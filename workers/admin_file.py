"""`admin.json`: the credentials that the first start hands to the operator, and how they survive a kill at any moment.

The file is the intent, the database follows it. Credentials are flushed to `admin.json.pending` before the transaction that
makes them good commits, and the file gets its name after. A start that finds the pending file asks the database: if it knows
the key, the file is published; if not and nobody founded the installation meanwhile, the same credentials are used again.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from models.base.durable import flush_folder
from models.base.private_files import NotPrivate, read_private

FIELDS = ("email", "password", "api_key", "api_url")
"""Without these it is no admin file. `temporal_ui_url` is null where nobody said which it is."""
NOT_SET = "not set (QUARTERDECK_TEMPORAL_UI_URL)"


class AdminFileError(Exception):
    """The file cannot be used. The message is one line and holds nothing of the content."""


@dataclass(frozen=True)
class AdminCredentials:
    email: str
    password: str = field(repr=False)
    api_key: str = field(repr=False)
    api_url: str
    temporal_ui_url: str | None


class AdminFile:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._pending = path.with_name(f"{path.name}.pending")

    def read(self) -> AdminCredentials | None:
        """The published credentials; None when there is no file. Raises AdminFileError for one that is damaged."""
        return _read(self.path)

    def read_pending(self) -> AdminCredentials | None:
        """Credentials of a start that did not come to its end; None also for a file that was cut short."""
        try:
            return _read(self._pending)
        except AdminFileError:
            return None

    def prepare(self, credentials: AdminCredentials) -> None:
        """Put the credentials on disk, before anything accepts them. Raises OSError."""
        _write(self._pending, credentials)

    def publish(self) -> None:
        self._pending.replace(self.path)
        flush_folder(self.path.parent)

    def discard_pending(self) -> None:
        self._pending.unlink(missing_ok=True)

    def update_addresses(self, *, api_url: str, temporal_ui_url: str | None) -> None:
        """Let a published file name where things listen now. A file that is absent or damaged is left alone."""
        try:
            current = self.read()
        except AdminFileError:
            return
        if current is None or (current.api_url, current.temporal_ui_url) == (api_url, temporal_ui_url):
            return
        beside = self.path.with_name(f"{self.path.name}.new")
        _write(beside, AdminCredentials(current.email, current.password, current.api_key, api_url, temporal_ui_url))
        beside.replace(self.path)
        flush_folder(self.path.parent)


def _read(path: Path) -> AdminCredentials | None:
    try:
        content = json.loads(read_private(path))
    except FileNotFoundError:
        return None
    except NotPrivate as error:
        raise AdminFileError(str(error)) from None
    except (OSError, ValueError) as error:
        raise AdminFileError(f"{path} cannot be read ({type(error).__name__})") from None
    values = [content.get(name) if isinstance(content, dict) else None for name in FIELDS]
    if not all(isinstance(value, str) and value for value in values):
        raise AdminFileError(f"{path} lacks one of {', '.join(FIELDS)}")
    email, password, api_key, api_url = map(str, values)
    web_ui = content.get("temporal_ui_url")
    return AdminCredentials(email, password, api_key, api_url, web_ui if isinstance(web_ui, str) and web_ui else None)


def _write(path: Path, credentials: AdminCredentials) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)  # created anew below, so that no other mode or link of an older file is inherited
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(credentials), file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    flush_folder(path.parent)
