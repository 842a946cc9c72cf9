"""A family that the product does not have, added by files of its own: everywhere that a family is seen, killed at every crash point,
and in nobody's way.
"""

import ast
import asyncio
import io
import json
import sys
import tokenize
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from activities.runtime.crash import every_crash_point
from api.commands import CRASH_POINT
from models.base.ids import new_id
from models.contracts.search_attributes import RESOURCE_ID, RESOURCE_KIND, SURFACE
from tests.chaos.installation import Installation, installed
from tests.chaos.processes import Armed
from tests.memory import folder_in_memory
from tests.patience import GIVE_UP_S
from tests.toys.activities import ToyActivities
from workers.embedded.stack import Programs
from workers.registry import activity_names

HERE = Path(__file__).resolve().parent
OTHERS = frozenset({"__main__.py"})
LINES = 250
RAW_LINES = 500
EMPTY = frozenset(
    {tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)
PROGRAM = (sys.executable, "-P", str(HERE / "__main__.py"))
READS = frozenset({"load_toy"})
"""Activities that do nothing: they have no crash points."""

POINTS = [point for point in every_crash_point() if point.partition(":")[0] in activity_names(ToyActivities)]

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    programs = Programs(migrate=(*PROGRAM, "migrate"), api=(*PROGRAM, "api"), worker=(*PROGRAM, "worker"))
    with folder_in_memory("toys", tmp_path_factory.mktemp("toys")) as home:
        async with installed(home, programs) as running:
            yield running


async def asked(installation: Installation, method: str, path: str) -> dict[str, Any]:
    answer = await installation.call(method, path)
    assert answer.status_code == 202, answer.text
    operation: dict[str, Any] = answer.json()
    return operation


async def ordered(installation: Installation, name: str = "a toy") -> dict[str, Any]:
    """The operation that makes it."""
    return await asked(installation, "POST", f"/toys?name={name}")


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(2 * GIVE_UP_S):
        while not await true():
            await asyncio.sleep(0.05)


async def until_status(installation: Installation, toy_id: str, status: str) -> None:
    async def is_so() -> bool:
        rows = await installation.rows("SELECT status FROM toys WHERE id = %s", UUID(toy_id))
        return [row["status"] for row in rows] == [status]

    await until(is_so)


async def made(installation: Installation) -> str:
    toy_id = str((await ordered(installation))["resource"]["id"])
    await until_status(installation, toy_id, "whole")
    return toy_id


async def ended(installation: Installation, operation: dict[str, Any]) -> dict[str, Any]:
    """The operation, once it is over."""
    found: dict[str, Any] = {}

    async def is_over() -> bool:
        found.update((await installation.call("GET", operation["links"]["self"])).json())
        return found["status"] not in ("pending", "running", "waiting_approval")

    await until(is_over)
    return found


async def asked_to_break(installation: Installation, toy_id: str) -> str:
    """The operation that waits for a person."""
    operation = str((await asked(installation, "DELETE", f"/toys/{toy_id}"))["id"])
    await until_waiting(installation, operation)
    return operation


async def until_waiting(installation: Installation, operation_id: str) -> None:
    async def is_so() -> bool:
        rows = await installation.rows("SELECT status FROM operations WHERE id = %s", UUID(operation_id))
        return [row["status"] for row in rows] == ["waiting_approval"]

    await until(is_so)


async def decided(installation: Installation, operation_id: str, verb: str = "approve") -> dict[str, Any]:
    return await asked(installation, "POST", f"/operations/{operation_id}/{verb}")


async def questions(installation: Installation, operation_id: str) -> list[str]:
    """What was asked for the operation, and what the log says of it."""
    by_operation = "SELECT status FROM approvals WHERE operation_id = %s"
    logged = (
        "SELECT action_type FROM action_logs WHERE details ->> 'approval_id' IN "
        "(SELECT id::text FROM approvals WHERE operation_id = %s) ORDER BY id"
    )
    statuses = [row["status"] for row in await installation.rows(by_operation, UUID(operation_id))]
    return [*statuses, *(row["action_type"] for row in await installation.rows(logged, UUID(operation_id)))]


def done_to(installation: Installation, toy_id: str) -> list[str]:
    """What the world says was done to it, in its order."""
    lines = (installation.folder / "toys.ledger").read_text().splitlines()
    return [line.removesuffix(f" {toy_id}") for line in lines if line.endswith(toy_id)]


async def said(installation: Installation, *program: str) -> Any:
    variables = {
        "QUARTERDECK_API_URL": installation.admin["api_url"],
        "QUARTERDECK_API_KEY": installation.admin["api_key"],
    }
    process = await asyncio.create_subprocess_exec(
        *program, stdout=asyncio.subprocess.PIPE, env={"PATH": "/usr/bin:/bin", **variables}, cwd=HERE.parents[1]
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(out)


def test_it_is_small() -> None:
    """The measure of what a family costs: lines of code, without what it imports and says of itself.

    They are 248; `wc -l` counts 497 in the same files, with 127 blank ones, 105 of imports and 17 of docstrings.
    """
    files = [path for path in HERE.rglob("*.py") if not is_other(path)]
    lines = sum(len(code_lines(path.read_text())) for path in files)
    assert lines <= LINES, f"{lines} lines"
    assert sum(len(path.read_text().splitlines()) for path in files) <= RAW_LINES


def is_other(path: Path) -> bool:
    return path.name in OTHERS or path.name.startswith("test_")


def code_lines(source: str) -> set[int]:
    """Those on which anything stands, if only a bracket, imports, docstrings and comments apart."""
    statements = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]
    told = [node for node in statements if isinstance(node, ast.Import | ast.ImportFrom) or is_text(node)]
    left_out = {line for node in told for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    standing = [token for token in tokens if token.type not in EMPTY]
    return {line for token in standing for line in range(token.start[0], token.end[0] + 1)} - left_out


def test_every_line_counts() -> None:
    assert code_lines('import io\n\n# Why.\nx = f(\n    """a\n\nb""",\n\n    2,\n)\n"""\nWhat it is.\n"""\n') == {
        4,
        5,
        6,
        7,
        9,
        10,
    }


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


async def test_it_is_seen_wherever_a_family_is(installation: Installation) -> None:
    operation = await ordered(installation, "top")
    toy_id = operation["resource"]["id"]
    assert operation["kind"] == "toy.make"
    assert operation["resource"] == {"kind": "toy", "id": toy_id, "url": f"/toys/{toy_id}"}
    assert (await ended(installation, operation))["status"] == "succeeded"
    await until_status(installation, toy_id, "whole")
    listed = (await installation.call("GET", "/operations")).json()["rows"]
    assert operation["id"] in [row["id"] for row in listed]
    told = await said(installation, sys.executable, "-m", "cli", "operations", "--json")
    assert operation["id"] in [row["id"] for row in told]
    assert {"id": toy_id, "name": "top", "status": "whole"} in await said(
        installation, *PROGRAM, "cli", "toys", "--json"
    )
    description = await (await installation.temporal_client()).get_workflow_handle(f"toy/{toy_id}").describe()
    attributes = description.typed_search_attributes
    assert [attributes[key] for key in (RESOURCE_KIND, RESOURCE_ID, SURFACE)] == ["toy", toy_id, "toys"]
    assert description.task_queue == "toys"


async def test_its_socket_goes_on_where_it_was_when_the_api_was_killed(installation: Installation) -> None:
    toy_id = await made(installation)
    operation_id = await asked_to_break(installation, toy_id)
    async with following(installation, toy_id) as socket:
        after = (await told(socket))["seq"]
        await decided(installation, operation_id)
        first = await told(socket)
        assert first["seq"] == after + 1
        await installation.api.kill()
        seen = [first, *await rest_of(socket)]
    await until_status(installation, toy_id, "broken")
    await installation.api.start()
    async with following(installation, toy_id, after=seen[-1]["seq"]) as socket:
        assert (await told(socket))["type"] == "hello"
        while len(news_of(toy_id, seen)) < 3:  # of the decision, of its beginning and of its end
            seen.append(await told(socket))
    assert [each["seq"] for each in seen] == list(range(after + 1, after + 1 + len(seen)))
    async with following(installation, str(new_id())) as socket:
        assert [each["data"]["code"] for each in await rest_of(socket)] == ["TOY_NOT_FOUND"]
        assert socket.close_code == 4003


def following(installation: Installation, toy_id: str, after: int | None = None) -> connect:
    url = installation.admin["api_url"].replace("http", "ws") + f"/toys/{toy_id}/stream"
    key = {"authorization": f"Bearer {installation.admin['api_key']}"}
    return connect(url if after is None else f"{url}?after={after}", additional_headers=key, proxy=None)


async def told(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(GIVE_UP_S):
        message: dict[str, Any] = json.loads(await socket.recv())
    return message


async def rest_of(socket: ClientConnection) -> list[dict[str, Any]]:
    seen = []
    try:
        while True:
            seen.append(await told(socket))
    except ConnectionClosed:
        return seen


def news_of(toy_id: str, seen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in seen if each["type"] == "toy.updated" and each["data"]["ids"] == [toy_id]]


async def test_it_is_ended_by_its_command_and_by_giving_its_order_up(installation: Installation) -> None:
    toy_id = await made(installation)
    operation = await decided(installation, await asked_to_break(installation, toy_id))
    assert (await ended(installation, operation))["status"] == "succeeded"
    assert done_to(installation, toy_id) == ["made", "broken"]
    await installation.worker.kill()
    order = await ordered(installation)
    given_up = await asked(installation, "POST", f"/operations/{order['id']}/cancel")
    assert given_up["id"] == order["id"]
    await installation.worker.start()
    assert (await ended(installation, order))["status"] == "cancelled"
    await until_status(installation, order["resource"]["id"], "broken")


def test_every_activity_that_does_something_is_killed() -> None:
    assert {point.partition(":")[0] for point in POINTS} == set(activity_names(ToyActivities)) - READS


async def test_a_worker_killed_anywhere_does_nothing_twice(installation: Installation) -> None:
    """At every crash point, with a toy being made and another one broken. The oracle is the world's own list."""
    olds = await asyncio.gather(*(made(installation) for _ in POINTS))
    armed = Armed(installation.worker, installation.folder / "worker.once")
    await installation.worker.kill()
    await armed.start(POINTS[0])
    for old, point, following in zip(olds, POINTS, [*POINTS[1:], None], strict=True):
        armed.make_due()
        begun = await asyncio.gather(ordered(installation), asked(installation, "DELETE", f"/toys/{old}"))
        await armed.dies()
        await armed.start(following)
        await until_waiting(installation, begun[1]["id"])
        await decided(installation, begun[1]["id"])
        new = str(begun[0]["resource"]["id"])
        await until_status(installation, new, "whole")
        await until_status(installation, old, "broken")
        assert done_to(installation, new) == ["made"], point
        assert done_to(installation, old) == ["made", "broken"], point


async def test_a_person_decides_and_what_is_rejected_is_not_done(installation: Installation) -> None:
    toy_id = await made(installation)
    operation_id = await asked_to_break(installation, toy_id)
    operation = await decided(installation, operation_id, "reject")
    over = await ended(installation, operation)
    assert (over["status"], over["error"]["code"]) == ("cancelled", "APPROVAL_REJECTED")
    assert done_to(installation, toy_id) == ["made"]
    assert await questions(installation, operation_id) == ["rejected", "APPROVAL_ASKED", "REJECT"]
    another = await asked_to_break(installation, toy_id)
    await ended(installation, await decided(installation, another))
    assert done_to(installation, toy_id) == ["made", "broken"]


async def test_what_is_given_up_while_a_person_is_asked_is_not_done_and_can_be_asked_again(
    installation: Installation,
) -> None:
    toy_id = await made(installation)
    operation_id = await asked_to_break(installation, toy_id)
    given_up = await installation.call("POST", f"/operations/{operation_id}/cancel")
    assert (given_up.status_code, given_up.json()["status"]) == (200, "cancelled")
    breaks = "SELECT id FROM operations WHERE resource_id = %s AND kind = 'toy.break'"
    assert [str(row["id"]) for row in await installation.rows(breaks, UUID(toy_id))] == [operation_id]
    assert await questions(installation, operation_id) == ["withdrawn", "APPROVAL_ASKED"]
    assert done_to(installation, toy_id) == ["made"]
    await ended(installation, await decided(installation, await asked_to_break(installation, toy_id)))
    assert done_to(installation, toy_id) == ["made", "broken"]


async def test_a_worker_killed_while_it_asks_and_when_it_is_answered_asks_once(installation: Installation) -> None:
    """At each point it dies as it asks; it is decided while no worker runs; the next one dies as it takes the decision up."""
    points = [point for point in POINTS if point.startswith("project_toy:")]
    toys = await asyncio.gather(*(made(installation) for _ in points))
    armed = Armed(installation.worker, installation.folder / "worker.once")
    await installation.worker.kill()
    await armed.start(points[0])
    for toy_id, point, following in zip(toys, points, [*points[1:], None], strict=True):
        armed.make_due()
        operation = await asked(installation, "DELETE", f"/toys/{toy_id}")
        await armed.dies()
        await armed.start(point)
        await until_waiting(installation, operation["id"])
        await installation.worker.kill()
        await decided(installation, operation["id"])
        await armed.start(point, due=True)
        await armed.dies()
        await armed.start(following)
        assert (await ended(installation, operation))["status"] == "succeeded", point
        assert done_to(installation, toy_id) == ["made", "broken"], point
        assert await questions(installation, operation["id"]) == ["approved", "APPROVAL_ASKED", "APPROVE"], point


async def test_a_decision_whose_answer_was_lost_takes_effect_once(installation: Installation) -> None:
    """At each point of a command around its commit."""
    points = [f"{CRASH_POINT}:{point}" for point in ("before_call", "after_call", "after_return")]
    toys = await asyncio.gather(*(made(installation) for _ in points))
    breaking = [await asked_to_break(installation, toy_id) for toy_id in toys]
    armed = Armed(installation.api, installation.folder / "api.once")
    await installation.api.stop()
    await armed.start(points[0])
    for toy_id, operation_id, point, following in zip(toys, breaking, points, [*points[1:], None], strict=True):
        path = f"/operations/{operation_id}/approve"
        armed.make_due()
        with pytest.raises(httpx.TransportError):
            await installation.call("POST", path)
        await armed.dies()
        await armed.start(following)
        operation = await asked(installation, "POST", path)
        assert (await ended(installation, operation))["status"] == "succeeded", point
        assert done_to(installation, toy_id) == ["made", "broken"], point
        assert await questions(installation, operation_id) == ["approved", "APPROVAL_ASKED", "APPROVE"], point


async def test_one_that_hangs_takes_nothing_of_another_family(installation: Installation) -> None:
    """Rows of toys that another session holds: what waits for them is the toys' own, and an instance is made meanwhile."""
    toys = await asyncio.gather(*(made(installation) for _ in range(4)))
    lock = "SELECT pid, application_name FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    connection = await installation.another_connection()
    async with connection, connection.transaction():
        await connection.execute("SELECT 1 FROM toys WHERE id = ANY(%s) FOR UPDATE", [[UUID(one) for one in toys]])
        breaking = [await asked(installation, "DELETE", f"/toys/{toy_id}") for toy_id in toys]

        async def some_wait() -> bool:
            return len(await installation.rows(lock)) > 1

        await until(some_wait)
        await installation.ready("mock")
        await until(some_wait)
        waiting = await installation.rows(lock)
    assert {row["application_name"] for row in waiting} == {"quarterdeck-worker-activities-toys"}
    for operation in breaking:
        await until_waiting(installation, operation["id"])
        await decided(installation, operation["id"])
    for toy_id in toys:
        await until_status(installation, toy_id, "broken")
