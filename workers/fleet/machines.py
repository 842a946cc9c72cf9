"""`quarterdeck machines`: machines at providers that belong to nobody, and the way to end one.

They are found by comparing what providers list with our rows, and never ended by themselves: whether one is a leftover or the
last trace of an instance that a restored database has forgotten, only a person can tell.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from temporalio.service import RPCError

from activities.runtime.client import connect
from delivery.outbox import RPC_TIMEOUT
from models.contracts.fleet.reconcile import LookNow
from models.contracts.workflow_ids import reconcile_workflow_id
from models.settings import Settings, load_settings
from workers.embedded.errors import StartError
from workers.embedded.fleet.unowned import Machines, Unowned, look, request_end
from workers.embedded.table import show_table

EXIT_OK, EXIT_FOUND = 0, 1
LATER = "within two minutes"
HEADERS = ("id", "provider", "zone", "type", "since", "EUR/h", "why")


def main(arguments: Sequence[str]) -> int:
    """0 where there is none, or where one is being ended; 1 where there are some. Raises StartError, SettingsError."""
    parser = argparse.ArgumentParser(prog="quarterdeck machines", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="as JSON")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    ending = commands.add_parser(
        "end", help="have one ended at its provider, with what it brought; this cannot be undone"
    )
    ending.add_argument("id", metavar="ID", help="the machine, as the list names it")
    ending.add_argument("--provider", metavar="QUEUE", help="whose machine it is, where two providers use the same id")
    ending.add_argument("--yes", action="store_true", help="do not ask")
    ending.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")
    options = parser.parse_args(arguments)
    settings = load_settings()
    machines = look(settings)
    if options.command is None:
        return _show(machines, as_json=options.json)
    machine = _named(machines, options.id, options.provider)
    _confirm(machine, is_sure=options.yes, as_json=options.json)
    return _end(settings, machine, as_json=options.json)


def _show(machines: Machines, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(asdict(machines), default=str))  # noqa: T201
    else:
        if machines.unowned:
            show_table(HEADERS, map(_row, machines.unowned))
        else:
            print("No machine belongs to nobody.")  # noqa: T201
        for other in machines.unlisted:
            print(f"{other.provider_queue} {other.text}")  # noqa: T201
    return EXIT_FOUND if machines.unowned or machines.unlisted else EXIT_OK


def _row(one: Unowned) -> tuple[object, ...]:
    price, why = one.price_eur_per_hour or "-", one.text.partition(": ")[2]
    since = f"{one.created_at:%Y-%m-%d %H:%M}"
    return one.provider_instance_id, one.provider_queue, one.zone, one.instance_type, since, price, why


def _named(machines: Machines, machine_id: str, provider_queue: str | None) -> Unowned:
    found = [one for one in machines.unowned if one.provider_instance_id == machine_id]
    found = [one for one in found if provider_queue in (None, one.provider_queue)]
    if not found:
        raise StartError(f"{machine_id} is no machine that belongs to nobody: `quarterdeck machines` lists them")
    if len(found) > 1:
        raise StartError(f"several providers have {machine_id}: name one with --provider")
    return found[0]


def _confirm(machine: Unowned, *, is_sure: bool, as_json: bool) -> None:
    if is_sure:
        return
    if as_json or not sys.stdin.isatty():
        raise StartError("this ends a machine for good, and nobody can be asked here: add --yes")
    answer = input(f"End machine {machine.provider_instance_id} {machine.text}? [y/N] ")
    if answer.strip().lower() not in ("y", "yes"):
        raise StartError("nothing was done")


def _end(settings: Settings, machine: Unowned, *, as_json: bool) -> int:
    if not request_end(settings, machine):
        raise StartError(f"{machine.provider_instance_id} is gone, or has an owner, by now")
    when = "now" if asyncio.run(_looks(settings, machine.provider_queue)) else LATER
    if as_json:
        told = {
            "provider_instance_id": machine.provider_instance_id,
            "provider": machine.provider_queue,
            "begins": when,
        }
        print(json.dumps(told))  # noqa: T201
    else:
        print(  # noqa: T201
            f"The worker of {machine.provider_queue} ends {machine.provider_instance_id}, beginning {when}. "
            "`quarterdeck machines` shows it until it is verified to be gone."
        )
    return EXIT_OK


async def _looks(settings: Settings, provider_queue: str) -> bool:
    """Whether the comparison of this provider was asked to look at once. What is to end is in the database in any case."""
    try:
        client = await connect(settings)
        handle = client.get_workflow_handle(reconcile_workflow_id(provider_queue))
        await handle.signal("look", LookNow(), rpc_timeout=RPC_TIMEOUT)
    except (RPCError, RuntimeError):  # of a server that is not there, too
        return False
    return True
