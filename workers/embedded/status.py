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
from workers.embedded.disk_space import shortage
from workers.embedded.errors import StartError
from workers.embedded.home import Home, is_locked
from workers.embedded.instances import served_instances
from workers.embedded.leftovers import identity_from, recorded_parts
from workers.embedded.ports import accepts
from workers.embedded.unowned import Unowned, look

RUNNING, NOT_RUNNING = 0, 1
PROBE_TIMEOUT_S = 2.0
LONGEST_ANSWER_BYTES = 65_536
NO_RECORDS = "METERING_UNAVAILABLE"
"""Why `/health` is degraded (api/schemas/system.py)."""


def status(settings: Settings, *, as_json: bool) -> int:
    """Prints it. The exit status: 0 when everything of the stack works, 1 otherwise. Raises StartError."""
    home = Home(settings.home)
    running = is_locked(home)
    parts = [_look_at(part) for part in recorded_parts(home)] if running else []
    no_room = shortage(home.path) if running else None
    instances = [served.folder.name for served in served_instances(instances_dir(settings))]
    unowned = _unowned(settings) if running else []
    if as_json:
        found = {
            "home": str(home.path),
            "running": running,
            "parts": parts,
            "disk": no_room,
            "served_instances": instances,
            "unowned_machines": [one.provider_instance_id for one in unowned],
        }
        print(json.dumps(found))  # noqa: T201
    else:
        _show(home.path, running, parts, instances)
        for one in unowned:
            print(f"Machine {one.provider_instance_id} belongs to nobody, {one.text}. {one.remedy}.")  # noqa: T201
        if no_room is not None:
            print(f'No room on the disk of {home.path} ({no_room}): see "When the disk is full" in docs/operating.md')  # noqa: T201
    is_well = no_room is None and not unowned
    healthy = running and bool(parts) and all(part["health"] == "ok" for part in parts) and is_well
    return RUNNING if healthy else NOT_RUNNING


def _unowned(settings: Settings) -> list[Unowned]:
    """None where the database cannot be asked: its part says so."""
    try:
        return look(settings).unowned
    except StartError:
        return []


def _look_at(part: Mapping[str, object]) -> dict[str, object]:
    """The recorded part as it is now: the process is looked up and the port is tried, not taken from the record."""
    identity = identity_from(part.get("process"))
    alive = identity is not None and identity.find() is not None
    health, stuck, reasons = _health(part) if alive else ("down", None, [])
    return {
        "name": part.get("name"),
        "state": part.get("state") if alive else "down",
        "pid": identity.pid if identity is not None and alive else None,
        "uptime_s": _seconds_since(part.get("since")) if alive else None,
        "restarts": part.get("restarts"),
        "port": part.get("port"),
        "url": part.get("url"),
        "health": health,
        "stuck_messages": stuck,
        "reasons": reasons,
    }


def _health(part: Mapping[str, object]) -> tuple[str, int | None, list[str]]:
    """In a word, the messages that are stuck in the outbox, None from a part that does not say, and why it is degraded."""
    port, url = part.get("port"), part.get("url")
    if isinstance(url, str):
        return _asked(url)
    if isinstance(port, int):
        return "ok" if accepts(port) else "no answer", None, []
    return "ok" if part.get("state") == "ready" else str(part.get("state")), None, []


def _asked(url: str) -> tuple[str, int | None, list[str]]:
    """What the HTTP server there says of itself; one that answers without failing, and says nothing, is well."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        if answer.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            return "no answer", None, []
        said = _object(answer.read(LONGEST_ANSWER_BYTES))
    except (OSError, http.client.HTTPException):
        return "no answer", None, []
    finally:
        connection.close()
    stuck, reasons = said.get("stuck_messages"), said.get("reasons")
    return (
        "degraded" if said.get("status") == "degraded" else "ok",
        stuck if isinstance(stuck, int) else None,
        [str(reason) for reason in reasons] if isinstance(reasons, list) else [],
    )


def _object(content: bytes) -> dict[str, object]:
    """Empty for what is no JSON object, like a page of the web UI."""
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _seconds_since(moment: object) -> int | None:
    if not isinstance(moment, str):
        return None
    return int((utc_now() - datetime.fromisoformat(moment)).total_seconds())


def _show(home: Path, running: bool, parts: list[dict[str, object]], instances: list[str]) -> None:  # noqa: FBT001
    console = Console()
    if not running:
        console.print(f"Quarterdeck does not run in {home}.", markup=False, highlight=False, soft_wrap=True)
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
        stuck = [part["stuck_messages"] for part in parts if part["stuck_messages"]]
        if stuck:
            console.print(
                f"Messages that do not reach their workflows: {stuck[0]} (since ten minutes or more; see the worker's log)"
            )
        if any(NO_RECORDS in str(part["reasons"]) for part in parts):
            console.print("Requests to models cannot be recorded on the disk, and are answered with 503 until they can")
    if instances:
        console.print(f"Served instances on this machine: {len(instances)} (`quarterdeck down --instances` ends them)")
