"""Instances: order one, look at it, end it."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from cli.command_group import CommandGroup
from cli.confirming import Yes, confirm, need_somebody
from cli.screen import Column
from cli.session import ApiUrl, AsJson, Session, opened
from cli.text import NOTHING, age, moment, money, percent, shown

if TYPE_CHECKING:
    from cli.following import Outcome

LONGEST_KEY = 255
"""Characters that the API accepts in an idempotency key."""


def _checked_key(given: str | None) -> str | None:
    if given is not None and not (given.isascii() and given.isprintable() and 1 <= len(given) <= LONGEST_KEY):
        raise typer.BadParameter(f"a key is 1 to {LONGEST_KEY} printable ASCII characters")
    return given


InstanceId = Annotated[str, typer.Argument(metavar="ID", help="Id of the instance, or a beginning that no other has.")]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until the operation has ended, and show its progress.")]
WaitTimeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", min=0, help="With --wait: stop watching after this time (exit 7)."),
]
IdempotencyKey = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key",
        callback=_checked_key,
        metavar="KEY",
        help="A command repeated with its key is carried out once. Default: a new key.",
    ),
]


def deploy(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Code, id or Hugging Face id: see `quarterdeck models`.")
    ],
    *,
    provider: Annotated[str | None, typer.Option(help="Code of the provider. Default: the cheapest that fits.")] = None,
    zone: Annotated[str | None, typer.Option(help="Code of the zone.")] = None,
    instance_type: Annotated[str | None, typer.Option("--type", help="Code of the instance type.")] = None,
    wait: Wait = False,
    timeout_s: WaitTimeout = None,
    idempotency_key: IdempotencyKey = None,
    as_json: AsJson = False,
    api_url: ApiUrl = None,
) -> None:
    """Rent a machine and serve MODEL on it."""
    order = {"model_id": model, "provider_code": provider, "zone": zone, "instance_type": instance_type}
    with opened(as_json=as_json, api_url=api_url) as session:
        accepted = session.api.send(
            "POST",
            "/deployments",
            body={name: value for name, value in order.items() if value is not None},
            idempotency_key=idempotency_key or str(uuid4()),
        )
        operation_id, instance_id = _ids(session, accepted)
        session.screen.note(f"Accepted: instance {instance_id}, operation {operation_id}")
        if not wait:
            _report(session, accepted, instance_id)
            session.screen.next_commands(
                f"quarterdeck operations --watch {operation_id}",
                f"quarterdeck instance {instance_id}",
                f"quarterdeck terminate {instance_id}",
            )
            return
        hints = [f"quarterdeck logs --instance {instance_id}", f"quarterdeck terminate {instance_id}"]
        outcome = _finished(session, accepted, timeout_s=timeout_s, hints=hints)
        _report(session, _with_outcome(accepted, outcome), instance_id)
        session.screen.next_commands(
            f'quarterdeck chat {model} "Say hello."',
            f"quarterdeck instance {instance_id}",
            f"quarterdeck terminate {instance_id}",
        )


def instances(
    *,
    archived: Annotated[bool, typer.Option("--archived", help="The archived ones instead.")] = False,
    status: Annotated[str | None, typer.Option(help="Only those with this status, or one of several: a,b,c.")] = None,
    as_json: AsJson = False,
    api_url: ApiUrl = None,
) -> None:
    """List the instances, newest first."""
    from cli import lists  # noqa: PLC0415  (see cli.session)

    wanted = _statuses(status)
    with opened(as_json=as_json, api_url=api_url) as session:
        rows = [row for row in lists.instances(session.api, archived=archived) if not wanted or row["status"] in wanted]
        if as_json:
            session.screen.json(rows)
            return
        session.screen.table(_columns(datetime.now(UTC)), rows, empty="No instances.")
        if rows:
            session.screen.next_commands("quarterdeck instance ID", "quarterdeck logs --instance ID")
        else:
            session.screen.next_commands("quarterdeck models", "quarterdeck deploy MODEL --wait")


def instance(identifier: InstanceId, *, as_json: AsJson = False, api_url: ApiUrl = None) -> None:
    """Show one instance: its state, what it waits for, its machine and its cost."""
    from cli import lists  # noqa: PLC0415

    with opened(as_json=as_json, api_url=api_url) as session:
        found = session.api.get(f"/instances/{lists.instance_id(session.api, identifier)}")
        if as_json:
            session.screen.json(found)
            return
        session.screen.record(_fields(found, datetime.now(UTC)))
        session.screen.next_commands(
            f"quarterdeck logs --instance {found['id']}", f"quarterdeck terminate {found['id']}"
        )


def terminate(
    identifier: InstanceId,
    *,
    wait: Wait = False,
    timeout_s: WaitTimeout = None,
    yes: Yes = False,
    as_json: AsJson = False,
    api_url: ApiUrl = None,
) -> None:
    """End an instance: drain it, delete its machine, and verify that nothing is left."""
    from cli import lists  # noqa: PLC0415

    with opened(as_json=as_json, api_url=api_url) as session:
        instance_id = lists.instance_id(session.api, identifier)
        _confirm(session, "terminate", instance_id, yes=yes)
        answer = session.api.send("DELETE", f"/instances/{instance_id}")
        _conclude(
            session, answer, instance_id, wait=wait, timeout_s=timeout_s, done=f"quarterdeck archive {instance_id}"
        )


def reinstall(
    identifier: InstanceId,
    *,
    wait: Wait = False,
    timeout_s: WaitTimeout = None,
    yes: Yes = False,
    idempotency_key: IdempotencyKey = None,
    as_json: AsJson = False,
    api_url: ApiUrl = None,
) -> None:
    """Install an instance again on the machine that it has; it serves nothing meanwhile."""
    from cli import lists  # noqa: PLC0415

    with opened(as_json=as_json, api_url=api_url) as session:
        instance_id = lists.instance_id(session.api, identifier)
        _confirm(session, "reinstall", instance_id, yes=yes)
        key = idempotency_key or str(uuid4())
        answer = session.api.send("POST", f"/instances/{instance_id}/reinstall", idempotency_key=key)
        _conclude(
            session, answer, instance_id, wait=wait, timeout_s=timeout_s, done=f"quarterdeck instance {instance_id}"
        )


def archive(identifier: InstanceId, *, as_json: AsJson = False, api_url: ApiUrl = None) -> None:
    """Hide a terminated instance from the list; its history and its cost are kept."""
    from cli import lists  # noqa: PLC0415

    with opened(as_json=as_json, api_url=api_url) as session:
        instance_id = lists.instance_id(session.api, identifier)
        session.api.send("PUT", f"/instances/{instance_id}/archive")
        if as_json:
            session.screen.json(session.api.get(f"/instances/{instance_id}"))
            return
        session.screen.line(f"archived: instance {instance_id}")
        session.screen.next_commands("quarterdeck instances --archived")


def _ids(session: Session, accepted: dict[str, Any]) -> tuple[str, str]:
    """The ids of the operation and of the instance of an accepted order. Raises CommandFailed."""
    operation, instance_id = accepted.get("operation"), accepted.get("instance_id")
    if not (isinstance(operation, dict) and isinstance(operation.get("id"), str) and isinstance(instance_id, str)):
        from cli.api_client import unexpected  # noqa: PLC0415

        raise unexpected(session.api.connection.url)
    return operation["id"], instance_id


def _confirm(session: Session, verb: str, instance_id: str, *, yes: bool) -> None:
    """Asks a person; a script must say `--yes`. Raises CommandFailed."""
    need_somebody(session, f"{verb} an instance", yes=yes)
    if yes:
        return
    found = session.api.get(f"/instances/{instance_id}")
    session.screen.note(
        f"Instance {instance_id}: {shown(found.get('model_name'))}, {shown(found.get('status'))}, "
        f"{shown(found.get('instance_type'))} at {shown(found.get('provider_name'))}, "
        f"{money(found.get('total_cost'))} EUR so far"
    )
    confirm(f"{verb.capitalize()} it?", f"instance {instance_id}")


def _conclude(
    session: Session, answer: dict[str, Any], instance_id: str, *, wait: bool, timeout_s: float | None, done: str
) -> None:
    """Reports an accepted command, at its end with `wait`. An answer without an operation has nothing left to do."""
    operation = answer.get("operation")
    if not isinstance(operation, dict):
        _report(session, answer, instance_id)
        session.screen.next_commands(done)
        return
    session.screen.note(f"Accepted: instance {instance_id}, operation {operation['id']}")
    if not wait:
        _report(session, answer, instance_id)
        session.screen.next_commands(f"quarterdeck operations --watch {operation['id']}")
        return
    hints = [f"quarterdeck logs --instance {instance_id}"]
    outcome = _finished(session, answer, timeout_s=timeout_s, hints=hints)
    _report(session, _with_outcome(answer, outcome), instance_id)
    session.screen.next_commands(done)


def _finished(session: Session, accepted: dict[str, Any], *, timeout_s: float | None, hints: list[str]) -> "Outcome":
    """The outcome of an accepted command. Raises CommandFailed, after the JSON document, when it did not succeed."""
    from cli.following import failed_operation, follow_operation  # noqa: PLC0415
    from models.domain.operations import OperationStatus  # noqa: PLC0415

    outcome = follow_operation(session, accepted["operation"]["id"], timeout_s=timeout_s)
    if outcome.operation.get("status") != OperationStatus.SUCCEEDED:
        if session.screen.as_json:
            session.screen.json(_with_outcome(accepted, outcome))
        raise failed_operation(outcome.operation, hints=hints)
    return outcome


def _with_outcome(accepted: dict[str, Any], outcome: "Outcome") -> dict[str, Any]:
    """The shape of `--json --wait`: the API's answer, its operation as it ended, and the instance."""
    return {**accepted, "operation": outcome.operation, "instance": outcome.instance}


def _report(session: Session, answer: dict[str, Any], instance_id: str) -> None:
    if session.screen.as_json:
        session.screen.json(answer)
        return
    status = (answer.get("instance") or {}).get("status") or answer.get("status") or "done"
    session.screen.line(f"{status}: instance {instance_id}")


def _statuses(given: str | None) -> frozenset[str]:
    """The statuses of a comma list. Ends the program with exit 2 for one that does not exist."""
    if given is None:
        return frozenset()
    from models.domain.fleet.instances.state import InstanceStatus  # noqa: PLC0415

    wanted = frozenset(word.strip() for word in given.split(",") if word.strip())
    known = {status.value for status in InstanceStatus}
    if not wanted or wanted - known:
        raise typer.BadParameter(f"the statuses are {', '.join(sorted(known))}", param_hint="--status")
    return wanted


def _columns(now: datetime) -> list[Column]:
    from cli.snapshot import held_cell  # noqa: PLC0415

    return [
        Column("ID", lambda row: row["id"], is_id=True),
        Column("MODEL", lambda row: shown(row.get("model_name") or row.get("model_code"))),
        Column("STATUS", lambda row: shown(row.get("status")), is_status=True),
        Column("%", lambda row: f"{percent(row.get('progress_percent')):.0f}", right=True),
        Column("PROVIDER", lambda row: shown(row.get("provider_name"))),
        Column("ZONE", lambda row: shown(row.get("zone"))),
        Column("TYPE", lambda row: shown(row.get("instance_type"))),
        Column("EUR/H", lambda row: money(row.get("cost_per_hour")), right=True),
        Column("EUR", lambda row: money(row.get("total_cost")), right=True),
        Column("AGE", lambda row: age(row.get("created_at"), now), right=True),
        Column("HELD", lambda row: held_cell(row.get("held"), now)),
    ]


def _fields(found: dict[str, Any], now: datetime) -> list[tuple[str, str]]:
    from cli.reasons import reason  # noqa: PLC0415
    from cli.snapshot import held_clause, step_label, waiting_clause  # noqa: PLC0415

    steps = found.get("completed_steps") or []
    volumes = [
        f"{shown(volume.get('name'))} {shown(volume.get('size_gb'))} GB" for volume in found.get("storages") or []
    ]
    created = moment(found.get("created_at"))
    return [
        ("id", found["id"]),
        ("model", shown(found.get("model_name") or found.get("model_code"))),
        ("status", shown(found.get("status"))),
        ("progress", f"{percent(found.get('progress_percent')):.0f} %"),
        ("steps", ", ".join(step_label(str(step)) for step in steps) or NOTHING),
        ("waiting on", waiting_clause(found.get("waiting_on"), now) or NOTHING),
        ("held", held_clause(found.get("held"), now) or NOTHING),
        ("error", reason(found.get("error_code"), found.get("error_message")) or NOTHING),
        ("provider", f"{shown(found.get('provider_name'))}, {shown(found.get('zone'))}"),
        ("type", shown(found.get("instance_type"))),
        ("address", shown(found.get("ip_address"))),
        ("agent", f"{shown(found.get('worker_status'))}, heard {age(found.get('worker_last_heartbeat'), now)} ago"
                  if found.get("worker_last_heartbeat") else NOTHING),
        ("volumes", ", ".join(volumes) or NOTHING),
        ("price", f"{money(found.get('cost_per_hour'))} EUR per hour"),
        ("cost", f"{money(found.get('total_cost'))} EUR"),
        ("created", f"{shown(found.get('created_at'))}, {age(found.get('created_at'), now)} ago" if created else NOTHING),
    ]  # fmt: skip


COMMANDS = CommandGroup((deploy, instances, instance, terminate, reinstall, archive), place=10)
