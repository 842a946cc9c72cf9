"""Operations: what was asked for, and how far it is."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import uuid4

import typer

from cli.command_group import CommandGroup
from cli.confirming import Yes, confirm, need_somebody
from cli.failures import CommandFailed, ExitCode, wrong_usage
from cli.screen import Column
from cli.session import ApiUrl, AsJson, Session, opened
from cli.text import NOTHING, age, money, percent, shown


def operations(
    context: typer.Context,
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
    """List the operations, newest first, follow one, or decide what one waits for."""
    if context.invoked_subcommand is not None:
        return
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


Comment = Annotated[str | None, typer.Option("--comment", help="Why; whoever reads the approval sees it.")]
OperationId = Annotated[str, typer.Argument(metavar="ID", help="The operation, or the beginning of its id.")]
ApprovalId = Annotated[
    str | None, typer.Option("--approval", metavar="ID", help="Which one, where the operation waits for several.")
]


def approve_operation(
    identifier: OperationId,
    *,
    approval: ApprovalId = None,
    comment: Comment = None,
    yes: Yes = False,
    as_json: AsJson = False,
    api_url: ApiUrl = None,
) -> None:
    """Approve what an operation waits for, once you have seen what that is."""
    with opened(as_json=as_json, api_url=api_url) as session:
        need_somebody(session, "approve an operation", yes=yes)
        asked = _asked(session, identifier, approval)
        if not yes:
            confirm("Approve it?", f"operation {asked['operation_id']}")
        _decide(session, "approve", asked, comment)


def reject_operation(
    identifier: OperationId,
    *,
    approval: ApprovalId = None,
    comment: Comment = None,
    as_json: AsJson = False,
    api_url: ApiUrl = None,
) -> None:
    """Reject what an operation waits for: it is cancelled, or goes on without."""
    with opened(as_json=as_json, api_url=api_url) as session:
        _decide(session, "reject", _asked(session, identifier, approval), comment)


def _asked(session: Session, identifier: str, named: str | None) -> dict[str, Any]:
    """The approval that is meant, which is shown: the one that is pending, else the last one, whose decision may be repeated.

    Raises CommandFailed where the operation has asked for none, and where it is not clear which one is meant.
    """
    from cli import lists  # noqa: PLC0415

    operation_id = lists.operation_id(session.api, identifier)
    rows = lists.rows_of(session.api, session.api.get("/approvals", operation_id=operation_id, limit=lists.PAGE))
    if not rows:
        raise CommandFailed(
            f"operation {operation_id} waits for no approval",
            code="OPERATION_NOT_AWAITING_APPROVAL",
            exit_code=ExitCode.CONFLICT,
        )
    meant = [row for row in rows if row["status"] == "pending"] or rows[:1]
    if named is not None:
        meant = [row for row in rows if row["id"].startswith(named.strip().lower())]
    if len(meant) != 1:
        raise wrong_usage(
            f"which approval of operation {operation_id}? give --approval",
            code="SEVERAL_APPROVALS",
            hints=[f"--approval {row['id']}  {_question(row)}" for row in (meant or rows)],
        )
    session.screen.note(_question(meant[0]))
    return meant[0]


def _question(asked: dict[str, Any]) -> str:
    """What is asked, its code, and what it costs."""
    from models.domain.language import language  # noqa: PLC0415
    from models.domain.sentences import said_of_question  # noqa: PLC0415

    code, cost = str(asked["code"]), asked.get("cost_eur")
    said = said_of_question(code, asked.get("params") or {}, language())
    return (code if said == code else f"{said} ({code})") + (f", {money(cost)} EUR" if cost is not None else "")


def _decide(session: Session, verb: str, asked: dict[str, Any], comment: str | None) -> None:
    operation_id = asked["operation_id"]
    body = {"approval_id": asked["id"], **({} if comment is None else {"comment": comment})}
    path = f"/operations/{operation_id}/{verb}"
    operation = session.api.send("POST", path, body=body, idempotency_key=str(uuid4()))
    if session.screen.as_json:
        session.screen.json(operation)
        return
    session.screen.line(f"{DONE[verb]}: operation {operation_id}")
    session.screen.next_commands(f"quarterdeck operations --watch {operation_id}")


DONE = {"approve": "approved", "reject": "rejected"}


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


COMMANDS = CommandGroup((operations,), place=20, below={"operations": (approve_operation, reject_operation)})
