"""Which API a command talks to, and with which key."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cli.failures import CommandFailed, ExitCode, wrong_usage
from models.base.hosts import is_loopback
from models.base.private_files import NotPrivate, read_private

DEFAULT_URL = "http://127.0.0.1:8000"
ADMIN_FILE = "admin.json"


@dataclass(frozen=True)
class Connection:
    """An address without a trailing slash, and the key that belongs to it. The key is in no repr."""

    url: str
    key: str = field(repr=False)
    key_source: str


def locate(api_url: str | None, environ: Mapping[str, str] = os.environ) -> Connection:
    """`api_url`, else that of `<home>/admin.json`, else the default; the key from `QUARTERDECK_API_KEY`, else that file.

    The key of `admin.json` is sent to the API of `admin.json` only, never to an address given by other means. A key of the
    environment goes where the caller said, by `api_url` or an explicit `QUARTERDECK_HOME`: a folder that somebody else filled may
    be the current one, and does not say where a key is sent (docs/decisions/0038-who-says-where-a-key-goes.md).
    Raises CommandFailed (exit 2 for an address that is none, 4 without a key, or for a file that is not the caller's alone).
    """
    chosen_home = environ.get("QUARTERDECK_HOME")
    admin_file = Path(chosen_home or ".quarterdeck").expanduser() / ADMIN_FILE
    key = environ.get("QUARTERDECK_API_KEY", "").strip()
    admin = _read_admin_file(admin_file) if chosen_home or not key else {}
    url = _checked_url(api_url or admin.get("api_url") or DEFAULT_URL)
    if key:
        return Connection(url, _checked_key(key, "QUARTERDECK_API_KEY"), "QUARTERDECK_API_KEY")
    if not admin.get("api_key"):
        raise CommandFailed(
            f"no API key: QUARTERDECK_API_KEY is not set and {admin_file} holds none",
            code="NO_API_KEY",
            exit_code=ExitCode.AUTH,
            hints=["`quarterdeck up` writes that file; QUARTERDECK_HOME says where to look for it."],
        )
    if _origin(url) != _origin(_checked_url(admin.get("api_url") or DEFAULT_URL)):
        raise CommandFailed(
            f"no API key for {url}: the one in {admin_file} belongs to another API and is not sent to this one",
            code="NO_API_KEY",
            exit_code=ExitCode.AUTH,
            hints=["Set QUARTERDECK_API_KEY to a key of that API."],
        )
    return Connection(url, _checked_key(admin["api_key"], str(admin_file)), str(admin_file))


def _read_admin_file(path: Path) -> dict[str, str]:
    """What the file holds; nothing when there is none."""
    try:
        content = json.loads(read_private(path))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except NotPrivate as error:
        raise CommandFailed(
            f"{error}; it is not trusted",
            code="BAD_ADMIN_FILE",
            exit_code=ExitCode.AUTH,
            hints=["Set QUARTERDECK_API_KEY, or run the command as the user who runs `quarterdeck up`."],
        ) from None
    except PermissionError:
        raise CommandFailed(
            f"{path} belongs to another user",
            code="NO_API_KEY",
            exit_code=ExitCode.AUTH,
            hints=["Set QUARTERDECK_API_KEY, or run the command as the user who runs `quarterdeck up`."],
        ) from None
    except (OSError, ValueError):  # a file that cannot be read or is no JSON; its content stays out of the message
        raise wrong_usage(f"{path} is not a readable JSON file", code="BAD_ADMIN_FILE") from None
    if not isinstance(content, dict):
        raise wrong_usage(f"{path} does not hold a JSON object", code="BAD_ADMIN_FILE")
    return {name: value for name, value in content.items() if isinstance(value, str)}


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise wrong_usage("the address of the API is not an http(s) URL such as " + DEFAULT_URL, code="BAD_API_URL")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise wrong_usage(
            "the address of the API must hold neither credentials nor a query: the key goes into QUARTERDECK_API_KEY",
            code="BAD_API_URL",
        )
    return url.strip().rstrip("/")


def _checked_key(key: str, source: str) -> str:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise CommandFailed(f"{source} does not hold an API key", code="BAD_API_KEY", exit_code=ExitCode.AUTH)
    return key


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port; every name of this machine's loopback is the same host."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return (
        parts.scheme,
        "loopback" if is_loopback(host) else host,
        parts.port or {"http": 80, "https": 443}[parts.scheme],
    )
