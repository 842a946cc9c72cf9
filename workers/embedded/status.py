"""`quarterdeck status`: every part of the stack of this home, as a table or as JSON."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from models.base.clock import utc_now
from models.domain.language import language
from models.settings import Settings
from models.settings.derived import instances_dir
from workers.embedded.disk_space import shortage
from workers.embedded.errors import StartError
from workers.embedded.fleet.instances import served_instances
from workers.embedded.fleet.unowned import Unowned, look
from workers.embedded.home import Home, is_locked
from workers.embedded.leftovers import identity_from, recorded_parts
from workers.embedded.ports import accepts
from workers.embedded.table import show_table
from workers.embedded.waits import Waits, said_of_health, waits

RUNNING, NOT_RUNNING = 0, 1
PROBE_TIMEOUT_S = 2.0
LONGEST_ANSWER_BYTES = 65_536
NO_WAITS = Waits([], 0)
STUCK = "MESSAGE_NOT_DELIVERED"
HEADERS = ("part", "state", "health", "pid", "uptime", "restarts", "port", "url")
"""Of these messages there is a line of their own, which says how many."""


def status(settings: Settings, *, as_json: bool) -> int:
    """Prints it. The exit status: 0 when everything of the stack works, 1 otherwise. Raises StartError."""
    home = Home(settings.home)
    running = is_locked(home)
    parts = [_look_at(part) for part in recorded_parts(home)] if running else []
    no_room = shortage(home.path) if running else None
    instances = [served.folder.name for served in served_instances(instances_dir(settings))]
    unowned = _unowned(settings) if running else []
    waiting = _waits(settings) if running else NO_WAITS
    if as_json:
        found = {
            "home": str(home.path),
            "running": running,
            "parts": parts,
            "disk": no_room,
            "served_instances": instances,
            "unowned_machines": [one.provider_instance_id for one in unowned],
            "waits": [one.as_json() for one in waiting.operations],
        }
        print(json.dumps(found))  # noqa: T201
    else:
        _show(home.path, running, parts, instances)
        for line in waiting.said(language()):
            print(line)  # noqa: T201
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


def _waits(settings: Settings) -> Waits:
    """None where the database cannot be asked, as above."""
    try:
        return waits(settings)
    except StartError:
        return NO_WAITS


def _look_at(part: Mapping[str, object]) -> dict[str, object]:
    """The recorded part as it is now: the process is looked up and the port is tried, not taken from the record."""
    identity = identity_from(part.get("process"))
    alive = identity is not None and identity.find() is not None
    said = _health(part) if alive else Said("down")
    return {
        "name": part.get("name"),
        "state": part.get("state") if alive else "down",
        "pid": identity.pid if identity is not None and alive else None,
        "uptime_s": _seconds_since(part.get("since")) if alive else None,
        "restarts": part.get("restarts"),
        "port": part.get("port"),
        "url": part.get("url"),
        "health": said.health,
        "stuck_messages": said.stuck_messages,
        "reasons": said.reasons,
        "alarms": said.alarms,
    }


@dataclass(frozen=True)
class Said:
    """What a part says of itself: in a word, how many messages are stuck in the outbox (None from one that does not say), why it
    is degraded, and how many alarms are open by code.
    """

    health: str
    stuck_messages: int | None = None
    reasons: list[str] = field(default_factory=list)
    alarms: dict[str, int] = field(default_factory=dict)


def _health(part: Mapping[str, object]) -> Said:
    port, url = part.get("port"), part.get("url")
    if isinstance(url, str):
        return _asked(url)
    if isinstance(port, int):
        return Said("ok" if accepts(port) else "no answer")
    return Said("ok" if part.get("state") == "ready" else str(part.get("state")))


def _asked(url: str) -> Said:
    """What the HTTP server there says of itself; one that answers without failing, and says nothing, is well."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        if answer.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            return Said("no answer")
        said = _object(answer.read(LONGEST_ANSWER_BYTES))
    except (OSError, http.client.HTTPException):
        return Said("no answer")
    finally:
        connection.close()
    stuck, reasons, alarms = said.get("stuck_messages"), said.get("reasons"), said.get("alarms")
    return Said(
        "degraded" if said.get("status") == "degraded" else "ok",
        stuck if isinstance(stuck, int) else None,
        [str(reason) for reason in reasons] if isinstance(reasons, list) else [],
        {code: count for code, count in alarms.items() if isinstance(count, int)} if isinstance(alarms, dict) else {},
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
        show_table(HEADERS, map(_row, parts))
        stuck = [part["stuck_messages"] for part in parts if part["stuck_messages"]]
        if stuck:
            console.print(
                f"Messages that do not reach their workflows: {stuck[0]} (since ten minutes or more; see the worker's log)"
            )
        for part in parts:
            for line in _said_of_health(part):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
    if instances:
        console.print(f"Served instances on this machine: {len(instances)} (`quarterdeck down --instances` ends them)")


def _row(part: Mapping[str, object]) -> tuple[object, ...]:
    seconds = part["uptime_s"]
    uptime = None if seconds is None else f"{seconds} s"
    return (
        part["name"],
        part["state"],
        part["health"],
        part["pid"],
        uptime,
        part["restarts"],
        part["port"],
        part["url"],
    )


def _said_of_health(part: Mapping[str, Any]) -> list[str]:
    reasons = [code for code in part["reasons"] if code != STUCK]
    return said_of_health(part["alarms"], reasons, language())
