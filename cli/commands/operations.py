"""Operations: what was asked for, and how far it is."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli.screen import Column
from cli.session import ApiUrl, AsJson, Session, opened
from cli.text import NOTHING, age, percent, shown


def operations(
    *,
    watch: Annotated[
        str | None, typer.Option("--watch", metavar="ID", help="Follow this one to its end; Ctrl-C detaches.")
    ] = None,
    timeout_s: Annotated[
        float | None,
        typer.Option(
            "--timeout", metavar="SECONDS", min=0, help="With --watch: stop watching after this time (exit 7)."
        ),
    ] = None,
    status: Annotated[str | None, typer.Option(help="Only those that are pending, running, succeeded, …")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Longest list.")] = 50,
    as_json: AsJson = False,
    api_url: ApiUrl = None,
) -> None:
    """List the operations, newest first, or follow one."""
    with opened(as_json=as_json, api_url=api_url) as session:
        if watch is not None:
            _watch(session, watch, timeout_s)
            return
        from cli import lists  # noqa: PLC0415  (see cli.session)

        rows = lists.first(lists.operations(session.api, page_size=min(limit, lists.PAGE), status=status), limit)
        if as_json:
            session.screen.json(rows)
            return
        session.screen.table(_columns(datetime.now(UTC)), rows, empty="No operations.")
        if rows:
            session.screen.next_commands("quarterdeck operations --watch ID")


def _watch(session: Session, given: str, timeout_s: float | None) -> None:
    from cli import lists  # noqa: PLC0415
    from cli.following import failed_operation, follow_operation  # noqa: PLC0415
    from models.domain.operations import OperationStatus  # noqa: PLC0415

    outcome = follow_operation(session, lists.operation_id(session.api, given), timeout_s=timeout_s)
    if session.screen.as_json:
        session.screen.json(outcome.operation)
    else:
        session.screen.record(_fields(outcome.operation))
    resource = outcome.operation.get("resource") or {}
    next_commands = [f"quarterdeck instance {resource['id']}"] if resource.get("kind") == "instance" else []
    if outcome.operation.get("status") != OperationStatus.SUCCEEDED:
        raise failed_operation(outcome.operation, hints=next_commands)
    if next_commands:
        session.screen.next_commands(*next_commands)


def _columns(now: datetime) -> list[Column]:
    from cli.snapshot import held_cell, waiting_clause  # noqa: PLC0415

    return [
        Column("ID", lambda row: row["id"], is_id=True),
        Column("KIND", lambda row: shown(row.get("kind"))),
        Column("STATUS", lambda row: shown(row.get("status")), is_status=True),
        Column("%", lambda row: f"{percent(row.get('progress')):.0f}", right=True),
        Column("RESOURCE", lambda row: shown((row.get("resource") or {}).get("id")), is_id=True),
        Column("WAITING ON", lambda row: waiting_clause(row.get("waiting_on"), now) or NOTHING),
        Column("HELD", lambda row: held_cell(row.get("held"), now)),
        Column("AGE", lambda row: age(row.get("created_at"), now), right=True),
    ]


def _fields(operation: dict[str, Any]) -> list[tuple[str, str]]:
    resource = operation.get("resource") or {}
    links = operation.get("links") or {}
    return [
        ("id", shown(operation.get("id"))),
        ("kind", shown(operation.get("kind"))),
        ("status", shown(operation.get("status"))),
        ("resource", f"{shown(resource.get('kind'))} {shown(resource.get('id'))}"),
        ("created", shown(operation.get("created_at"))),
        ("completed", shown(operation.get("completed_at"))),
        ("workflow", shown(links.get("temporal_ui"))),
    ]
