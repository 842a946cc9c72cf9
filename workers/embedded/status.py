"""`quarterdeck status`: every part of the stack of this home, as a table or as JSON."""

import http.client
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from models.base.clock import utc_now
from models.settings import Settings
from models.settings.derived import instances_dir
from workers.embedded.home import Home, is_locked
from workers.embedded.instances import served_instances
from workers.embedded.leftovers import identity_from, recorded_parts
from workers.embedded.ports import accepts

RUNNING, NOT_RUNNING = 0, 1
PROBE_TIMEOUT_S = 2.0


def status(settings: Settings, *, as_json: bool) -> int:
    """Prints it. The exit status: 0 when everything of the stack works, 1 otherwise. Raises StartError."""
    home = Home(settings.home)
    running = is_locked(home)
    parts = [_look_at(part) for part in recorded_parts(home)] if running else []
    instances = [served.folder.name for served in served_instances(instances_dir(settings))]
    if as_json:
        print(json.dumps({"home": str(home.path), "running": running, "parts": parts, "served_instances": instances}))  # noqa: T201
    else:
        _show(home.path, running, parts, instances)
    healthy = running and bool(parts) and all(part["health"] == "ok" for part in parts)
    return RUNNING if healthy else NOT_RUNNING


def _look_at(part: Mapping[str, object]) -> dict[str, object]:
    """The recorded part as it is now: the process is looked up and the port is tried, not taken from the record."""
    identity = identity_from(part.get("process"))
    alive = identity is not None and identity.find() is not None
    return {
        "name": part.get("name"),
        "state": part.get("state") if alive else "down",
        "pid": identity.pid if identity is not None and alive else None,
        "uptime_s": _seconds_since(part.get("since")) if alive else None,
        "restarts": part.get("restarts"),
        "port": part.get("port"),
        "url": part.get("url"),
        "health": _health(part) if alive else "down",
    }


def _health(part: Mapping[str, object]) -> str:
    port, url = part.get("port"), part.get("url")
    if isinstance(url, str):
        return "ok" if _answers(url) else "no answer"
    if isinstance(port, int):
        return "ok" if accepts(port) else "no answer"
    return "ok" if part.get("state") == "ready" else str(part.get("state"))


def _answers(url: str) -> bool:
    """Whether an HTTP server that is not failing answers there."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _seconds_since(moment: object) -> int | None:
    if not isinstance(moment, str):
        return None
    return int((utc_now() - datetime.fromisoformat(moment)).total_seconds())


def _show(home: Path, running: bool, parts: list[dict[str, object]], instances: list[str]) -> None:  # noqa: FBT001
    console = Console()
    if not running:
        console.print(f"Quarterdeck does not run in {home}.")
    else:
        table = Table("part", "state", "health", "pid", "uptime", "restarts", "port", "url", box=None, pad_edge=False)
        for part in parts:
            seconds = part["uptime_s"]
            uptime = "" if seconds is None else f"{seconds} s"
            row = (
                part["name"],
                part["state"],
                part["health"],
                part["pid"],
                uptime,
                part["restarts"],
                part["port"],
                part["url"],
            )
            table.add_row(*("" if cell is None else str(cell) for cell in row))
        console.print(table)
    if instances:
        console.print(f"Served instances on this machine: {len(instances)} (`quarterdeck down --instances` ends them)")
