"""The ledger: every machine and volume ever made, and what each has cost by its meter. Nothing here is ever deleted."""

from decimal import Decimal
from typing import Any

from simcloud.catalogue import TYPES_BY_CODE
from simcloud.clock import rfc3339, rfc3339_or_none
from simcloud.machines import Machine, Machines
from simcloud.meter import NOTHING, PER_SECOND, amount_eur
from simcloud.volumes import Volume, Volumes

GROUP = ("live_machines", "ended_machines", "live_volumes", "ended_volumes")


def usage(resource: Machine | Volume, now: float) -> dict[str, Any]:
    """The meter of one machine or volume, also long after it is gone."""
    billed_from = resource.billed_from if isinstance(resource, Machine) else resource.created_at
    terms = TYPES_BY_CODE[resource.type].terms if isinstance(resource, Machine) else PER_SECOND
    amount = amount_eur(resource.price_eur_per_hour, billed_from, resource.billed_until, now, terms)
    return {
        "id": resource.id,
        "kind": "machine" if isinstance(resource, Machine) else "volume",
        "billed_from": rfc3339_or_none(billed_from),
        "billed_until": rfc3339_or_none(resource.billed_until),
        "ended": _ended(resource),
        "price_eur_per_hour": resource.price_eur_per_hour,
        "amount_eur": str(amount),
    }


def ledger(machines: Machines, volumes: Volumes, now: float, *, tag: str | None, prefix: str | None) -> dict[str, Any]:
    """Everything ever made, or what carries `tag`; `groups` has one entry per tag, or per tag that starts with `prefix`."""
    machine_entries = [_machine_entry(machine, now) for machine in machines.ever(tag)]
    volume_entries = [_volume_entry(volume, now) for volume in volumes.ever(tag)]
    groups: dict[str, dict[str, list[str]]] = {}
    for kind, entries in (("machines", machine_entries), ("volumes", volume_entries)):
        for entry in entries:
            for name in entry["tags"]:
                if prefix is None or name.startswith(prefix):
                    group = groups.setdefault(name, {key: [] for key in GROUP})
                    group[f"{'live' if entry['live'] else 'ended'}_{kind}"].append(entry["id"])
    entries = machine_entries + volume_entries
    return {
        "now": rfc3339(now),
        "machines": machine_entries,
        "volumes": volume_entries,
        "groups": groups,
        "totals": {
            "live_machines": sum(entry["live"] for entry in machine_entries),
            "ended_machines": sum(not entry["live"] for entry in machine_entries),
            "live_volumes": sum(entry["live"] for entry in volume_entries),
            "ended_volumes": sum(not entry["live"] for entry in volume_entries),
            "amount_eur": str(sum((Decimal(entry["amount_eur"]) for entry in entries), NOTHING)),
        },
    }


def _ended(resource: Machine | Volume) -> bool:
    return (resource.ended_at if isinstance(resource, Machine) else resource.billed_until) is not None


def _machine_entry(machine: Machine, now: float) -> dict[str, Any]:
    return machine.shown(None) | {
        "live": machine.ended_at is None,
        "ended_at": rfc3339_or_none(machine.ended_at),
        "end_reason": machine.end_reason,
        "visible_at": rfc3339(machine.visible_at),
        "amount_eur": usage(machine, now)["amount_eur"],
    }


def _volume_entry(volume: Volume, now: float) -> dict[str, Any]:
    return volume.shown() | {
        "live": volume.billed_until is None,
        "made_for": volume.made_for,
        "amount_eur": usage(volume, now)["amount_eur"],
    }
