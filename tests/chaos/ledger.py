"""The oracle: what exists and is billed according to the outside, never according to our rows.

For `mock` it is the ledger of the simulated cloud, a program of its own. For `local` it is the process table and the tombstones
on disk. Our rows come in only to be held against it: a bill of ours must end when the outside's meter stopped.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil

from tests.chaos import scoreboard
from tests.chaos.installation import Installation, Row

INSTANCE_TAG = "quarterdeck:instance="
BILLS = """
SELECT *, segment_cost_eur(opened_at, closed_at, price_eur_per_hour, billing_increment_s, billing_minimum_s) AS cost_eur
FROM billing_segments WHERE instance_id = ANY(%s)
"""


@dataclass(frozen=True)
class Metered:
    """The provider's meter of one machine or volume: when it began, and what it came to; None while it runs."""

    billed_from: datetime | None
    amount_eur: Decimal | None


@dataclass
class Made:
    """Every machine that was ever made for one instance."""

    live: list[str] = field(default_factory=list)
    ended: dict[str, datetime | None] = field(default_factory=dict)
    """Machine -> the moment its billing stopped; None for one that was never billed."""
    live_volumes: list[str] = field(default_factory=list)
    ended_volumes: dict[str, datetime | None] = field(default_factory=dict)
    meters: dict[str, Metered] = field(default_factory=dict)
    """Of machines and volumes, live and ended; a local machine has none."""
    addresses: list[tuple[str, int]] = field(default_factory=list)
    """Where the live machines answer."""
    processes: list[int] = field(default_factory=list)
    """Agents on this machine; for a simulated one there are none."""

    @property
    def ever(self) -> int:
        return len(self.live) + len(self.ended)


async def made_outside(installation: Installation) -> dict[UUID, Made]:
    """What the outside knows of every instance of this installation."""
    made = await _simulated(installation)
    for instance_id, local in _on_this_machine(installation.folder / "instances").items():
        made[instance_id] = local
    return made


async def _simulated(installation: Installation) -> dict[UUID, Made]:
    ledger = (await installation.cloud.get("/sim/ledger", params={"group_prefix": INSTANCE_TAG})).json()
    entries = {one["id"]: one for one in [*ledger["machines"], *ledger["volumes"]]}
    stopped = {one["id"]: one["billed_until"] for one in entries.values()}
    shown = (await installation.cloud.get("/v1/instances", params={"limit": 500})).json()["instances"]
    addresses = {one["id"]: one["address"] for one in shown if one["address"]}
    return {
        UUID(tag.removeprefix(INSTANCE_TAG)): Made(
            live=group["live_machines"],
            ended={one: _moment(stopped[one]) for one in group["ended_machines"]},
            live_volumes=group["live_volumes"],
            ended_volumes={one: _moment(stopped[one]) for one in group["ended_volumes"]},
            meters={one: _meter(entries[one]) for kind in group.values() for one in kind},
            addresses=[
                (found["host"], found["port"]) for one in group["live_machines"] if (found := addresses.get(one))
            ],
        )
        for tag, group in ledger["groups"].items()
    }


def _on_this_machine(folder: Path) -> dict[UUID, Made]:
    """A machine lives until it has its tombstone; its agents are whatever processes were started for its folder."""
    agents = _agents()
    made: dict[UUID, Made] = {}
    for ordered in sorted(folder.glob("m-*/machine.json")):
        machine = ordered.parent
        one = made.setdefault(UUID(json.loads(ordered.read_text())["spec"]["instance_id"]), Made())
        tombstone = machine / "ended.json"
        if tombstone.exists():
            one.ended[machine.name] = _moment(json.loads(tombstone.read_text())["at"])
        else:
            one.live.append(machine.name)
        one.processes += agents.get(str(machine), [])
        one.addresses += [address for process in agents.get(str(machine), []) for address in _listening(process)]
    return made


def _agents() -> dict[str, list[int]]:
    """Folder of a machine -> processes of its agent, from the process table alone."""
    found: dict[str, list[int]] = {}
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        if "node" in command and "--home" in command and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.setdefault(command[command.index("--home") + 1], []).append(process.pid)
    return found


def _listening(process_id: int) -> list[tuple[str, int]]:
    """Where the process takes connections, by the kernel's word."""
    try:
        connections = psutil.Process(process_id).net_connections("tcp")
    except psutil.NoSuchProcess:
        return []
    return [(one.laddr.ip, one.laddr.port) for one in connections if one.status == psutil.CONN_LISTEN]


async def verify(installation: Installation, instances: Sequence[UUID], *, at_most_one: bool = False) -> None:
    """One machine per live instance, none for a terminated one, every bill what the outside's meter came to, exactly.

    Strict: a second machine that was made and deleted again counts as two. `at_most_one` also accepts an instance for which
    none was ever made. Fails with every violation.
    """
    rows = await installation.instances(instances)
    outside = await made_outside(installation)
    bills = await installation.rows(BILLS, list(instances))
    wrong: list[str] = []
    for instance_id in instances:
        made = outside.get(instance_id, Made())
        its_bills = [bill for bill in bills if bill["instance_id"] == instance_id]
        fewest = 0 if at_most_one else 1
        if not fewest <= made.ever <= 1:
            wrong.append(f"{instance_id}: {made.ever} machines were made: {made}")
        row = rows[instance_id]
        is_over = row["status"] == "terminated"
        if row["status"] == "ready" and (row["endpoint_host"], row["endpoint_port"]) not in made.addresses:
            told = f"{row['endpoint_host']}:{row['endpoint_port']}"
            wrong.append(f"{instance_id}: is ready at {told}, its machine answers at {made.addresses}")
        wrong += [f"{instance_id}: {text}" for text in (_gone(made, its_bills) if is_over else _alive(made, its_bills))]
        wrong += [f"{instance_id}: {text}" for text in _misbilled(made, its_bills)]
    assert not wrong, "\n".join(wrong)


def _alive(made: Made, bills: Sequence[Row]) -> list[str]:
    wrong = []
    if len(made.live) != 1:
        wrong.append(f"has {len(made.live)} live machines")
    if made.live and made.live[0].startswith("m-") and len(made.processes) != 1:
        wrong.append(f"has {len(made.processes)} agents: {made.processes}")
    running = [bill for bill in bills if bill["closed_at"] is None and bill["usage_kind"] == "compute"]
    if len(running) != 1:
        wrong.append(f"has {len(running)} running bills")
    billed = {bill["provider_resource_id"] for bill in bills if bill["closed_at"] is None}
    wrong += [f"the outside bills {volume}, we do not" for volume in made.live_volumes if volume not in billed]
    return wrong


def _gone(made: Made, bills: Sequence[Row]) -> list[str]:
    wrong = []
    if made.live or made.live_volumes or made.processes:
        wrong.append(f"is terminated and still has {made}")
    wrong += [f"its bill for {bill['provider_resource_id']} still runs" for bill in bills if bill["closed_at"] is None]
    billed = {bill["provider_resource_id"]: bill["closed_at"] for bill in bills}
    for resource, stopped_at in {**made.ended, **made.ended_volumes}.items():
        if stopped_at is None:
            continue
        if resource not in billed:
            wrong.append(f"the outside billed {resource}, we did not")
        elif billed[resource] is not None and billed[resource] != stopped_at:
            wrong.append(f"{resource} was billed until {stopped_at}, by us until {billed[resource]}")
    return wrong


def _misbilled(made: Made, bills: Sequence[Row]) -> list[str]:
    """Ours against the meter's, to the microsecond and to the last place."""
    wrong = []
    for resource, meter in made.meters.items():
        its_bills = [bill for bill in bills if bill["provider_resource_id"] == resource]
        if any(bill["opened_at"] != meter.billed_from for bill in its_bills):
            wrong.append(f"{resource} is billed from {meter.billed_from}, by us from {its_bills[0]['opened_at']}")
        if meter.amount_eur is not None and its_bills and all(bill["closed_at"] is not None for bill in its_bills):
            ours = sum((bill["cost_eur"] for bill in its_bills), Decimal(0))
            scoreboard.billed(resource, ours, meter.amount_eur)
            if ours != meter.amount_eur:
                wrong.append(f"{resource} cost {meter.amount_eur}, by our ledger {ours}")
    return wrong


def _meter(entry: dict[str, Any]) -> Metered:
    return Metered(_moment(entry["billed_from"]), None if entry["live"] else Decimal(entry["amount_eur"]))


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
