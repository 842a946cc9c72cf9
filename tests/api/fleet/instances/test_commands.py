"""Terminating, reinstalling and archiving, and who may (contract/fleet.md 2.11, 18 facts 3 to 5; decisions 2, 4, 10)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from delivery import outbox
from models.base.clock import utc_now
from models.base.ids import new_id
from models.domain.fleet.instances.state import DesiredStatus, InstanceStatus
from models.domain.fleet.operations import OperationKind
from models.domain.identity.roles import Role
from models.domain.operations import OperationStatus
from models.tables.activity import ActionLog
from models.tables.fleet.instances import Instance, InstanceStateChange
from models.tables.operations import Operation, OutboxRow
from tests.api.conftest import PASSWORD, Person, client_of
from tests.factories.seeded import SeededApi, seeded_api
from tests.servers import TestDatabase

S = InstanceStatus
FINAL = {S.TERMINATED, S.ARCHIVED}
ENDING = {S.DRAINING, S.TERMINATING}
WRITES = [("DELETE", ""), ("POST", "/reinstall"), ("PUT", "/archive")]
MAY_WRITE = {Role.OWNER, Role.ADMIN}
AT_ONCE = 20


def now(seeded: SeededApi, instance: Instance) -> Instance:
    return seeded.rows.one(Instance, id=instance.id)


def commands(seeded: SeededApi, instance: Instance) -> list[OutboxRow]:
    return seeded.rows.all(OutboxRow, workflow_id=f"instance/{instance.id}")


def unfinished(seeded: SeededApi, instance: Instance) -> list[Operation]:
    found = seeded.rows.all(Operation, resource_id=instance.id)
    return [operation for operation in found if operation.status is OperationStatus.PENDING]


# -- DELETE


async def test_one_that_was_never_asked_for_ends_at_once(seeded: SeededApi, person: Person):
    row = seeded.rows.instance(person.organization_id, S.PROVISIONING)
    provision = seeded.rows.operation(row)
    answer = (await seeded.call("DELETE", f"/instances/{row.id}", person, 200)).json()
    assert (answer["status"], answer["instance_id"]) == ("terminated", str(row.id))
    operation = answer["operation"]
    assert (operation["kind"], operation["status"], operation["progress"]) == ("instance.terminate", "succeeded", 100)
    assert operation["created_at"] <= operation["completed_at"]
    ended = now(seeded, row)
    assert (ended.status, ended.deletion_reason) == (S.TERMINATED, "no_provider_resource")
    assert ended.terminated_at is not None
    assert seeded.rows.one(Operation, id=provision.id).status is OperationStatus.CANCELLED
    assert commands(seeded, row) == []
    history = seeded.rows.one(InstanceStateChange, instance_id=row.id)
    assert (history.from_status, history.to_status) == (S.PROVISIONING, S.TERMINATED)
    again = (await seeded.call("DELETE", f"/instances/{row.id}", person, 200)).json()
    assert again["status"] == "terminated"
    assert now(seeded, row).terminated_at == ended.terminated_at


@pytest.mark.parametrize("status", [S.PROVISIONING_FAILED, S.FAILED, S.STARTUP_FAILED])
async def test_what_failed_before_any_create_ends_at_once_too(
    seeded: SeededApi, person: Person, status: InstanceStatus
):
    row = seeded.rows.instance(person.organization_id, status)
    assert (await seeded.call("DELETE", f"/instances/{row.id}", person, 200)).json()["status"] == "terminated"


@pytest.mark.parametrize("status", [status for status in S if status not in FINAL])
async def test_where_a_create_was_attempted_the_owner_is_told(
    seeded: SeededApi, person: Person, status: InstanceStatus
):
    """Also where no machine is known: the create may have worked although its answer was lost."""
    row = seeded.rows.instance(person.organization_id, status, create_attempted_at=utc_now())
    response = await seeded.call("DELETE", f"/instances/{row.id}", person, 202)
    answer = response.json()
    operation = answer["operation"]
    assert (answer["status"], operation["kind"], operation["status"]) == (
        "terminating", "instance.terminate", "pending",
    )  # fmt: skip
    assert response.headers["location"] == f"/operations/{operation['id']}"
    assert operation["waiting_on"]["what"]
    written = now(seeded, row)
    assert (written.desired_status, written.status) == (DesiredStatus.TERMINATED, status)
    seen = (await seeded.call("GET", f"/instances/{row.id}", person, 200)).json()
    assert seen["status"] == (status.value if status in ENDING else "terminating")
    assert seen["waiting_on"]["what"] == operation["waiting_on"]["what"], "nothing waits in silence"
    [message] = commands(seeded, row)
    assert (message.kind, message.payload) == (
        "command", {"instance_id": str(row.id), "operation_id": operation["id"]},
    )  # fmt: skip
    log = seeded.rows.one(ActionLog, instance_id=row.id)
    assert (log.action_type, log.component, log.user_id) == ("REQUEST_TERMINATE", "api", person.user_id)


async def test_asking_again_gives_the_same_operation(seeded: SeededApi, person: Person):
    """That it wakes an owner which did not hear the first time: tests/workflow/fleet/instances/test_commands.py."""
    row = seeded.rows.machine(person.organization_id)
    first = (await seeded.call("DELETE", f"/instances/{row.id}", person, 202)).json()
    again = (await seeded.call("DELETE", f"/instances/{row.id}", person, 202)).json()
    assert again["operation"]["id"] == first["operation"]["id"]
    assert again["status"] == "terminating"
    assert {message.payload["operation_id"] for message in commands(seeded, row)} == {first["operation"]["id"]}
    assert len(unfinished(seeded, row)) == 1


async def test_many_at_once_are_one_operation(seeded: SeededApi, person: Person):
    await seeded.introduce(person)
    row = seeded.rows.machine(person.organization_id)
    answers = await asyncio.gather(
        *(seeded.call("DELETE", f"/instances/{row.id}", person, 202) for _ in range(AT_ONCE))
    )
    assert len({answer.json()["operation"]["id"] for answer in answers}) == 1
    assert len(seeded.rows.all(Operation, resource_id=row.id)) == 1


@pytest.mark.parametrize("status", sorted(FINAL))
async def test_what_is_gone_stays_as_it_is(seeded: SeededApi, person: Person, status: InstanceStatus):
    row = seeded.rows.machine(person.organization_id, status)
    answer = (await seeded.call("DELETE", f"/instances/{row.id}", person, 200)).json()
    assert (answer["status"], answer["operation"]) == (status.value, None)
    assert now(seeded, row).status is status
    assert commands(seeded, row) == []


# -- Reinstall


async def test_a_reinstall_is_202_and_the_owner_is_told(seeded: SeededApi, person: Person):
    row = seeded.rows.machine(person.organization_id)
    response = await seeded.call("POST", f"/instances/{row.id}/reinstall", person, 202)
    operation = response.json()["operation"]
    assert (operation["kind"], operation["status"]) == ("instance.reinstall", "pending")
    assert response.headers["location"] == f"/operations/{operation['id']}"
    [message] = commands(seeded, row)
    assert message.payload["operation_id"] == operation["id"]
    assert seeded.rows.one(ActionLog, instance_id=row.id).action_type == "REQUEST_REINSTALL"
    seen = (await seeded.call("GET", f"/instances/{row.id}", person, 200)).json()
    assert (seen["status"], seen["waiting_on"]["what"]) == ("ready", "its owner to begin")
    again = (await seeded.call("POST", f"/instances/{row.id}/reinstall", person, 202)).json()
    assert again["operation"]["id"] == operation["id"]
    assert len(unfinished(seeded, row)) == 1


@pytest.mark.parametrize("status", [status for status in S if status not in FINAL | ENDING])
async def test_every_state_with_a_machine_can_be_reinstalled(seeded: SeededApi, person: Person, status: InstanceStatus):
    row = seeded.rows.machine(person.organization_id, status)
    await seeded.call("POST", f"/instances/{row.id}/reinstall", person, 202)


@pytest.mark.parametrize("provider_instance_id", ["i-1", None])
async def test_what_its_provider_cannot_install_anew_is_refused_at_once(
    seeded: SeededApi, person: Person, provider_instance_id: str | None
):
    """Whether it has a machine yet or not: to wait for one would be of no use."""
    row = seeded.rows.machine(person.organization_id, provider_code="aws", provider_instance_id=provider_instance_id)
    refused = (await seeded.call("POST", f"/instances/{row.id}/reinstall", person, 400)).json()
    assert refused["code"] == "REINSTALL_NOT_SUPPORTED"
    assert "deploy a new one" in refused["detail"]
    assert commands(seeded, row) == []


@pytest.mark.parametrize("status", sorted(FINAL))
async def test_what_is_gone_cannot_be_reinstalled(seeded: SeededApi, person: Person, status: InstanceStatus):
    row = seeded.rows.machine(person.organization_id, status)
    refused = (await seeded.call("POST", f"/instances/{row.id}/reinstall", person, 400)).json()
    assert refused["code"] == "INSTANCE_TERMINATED"
    assert "deploy" in refused["detail"]


@pytest.mark.parametrize("status", sorted(ENDING))
async def test_what_is_ending_cannot_be_reinstalled(seeded: SeededApi, person: Person, status: InstanceStatus):
    row = seeded.rows.machine(person.organization_id, status, desired_status=DesiredStatus.TERMINATED)
    refused = (await seeded.call("POST", f"/instances/{row.id}/reinstall", person, 409)).json()
    assert refused["code"] == "INSTANCE_TERMINATING"


async def test_a_reinstall_after_an_accepted_end_is_409(seeded: SeededApi, person: Person):
    row = seeded.rows.machine(person.organization_id)
    await seeded.call("DELETE", f"/instances/{row.id}", person, 202)
    await seeded.call("POST", f"/instances/{row.id}/reinstall", person, 409)
    assert [operation.kind for operation in unfinished(seeded, row)] == [OperationKind.INSTANCE_TERMINATE]


@pytest.mark.parametrize("missing", ["provider_instance_id", "endpoint_host"])
async def test_without_a_machine_or_an_address_there_is_nothing_to_reinstall(
    seeded: SeededApi, person: Person, missing: str
):
    row = seeded.rows.machine(person.organization_id, S.BOOTING, **{missing: None})
    refused = (await seeded.call("POST", f"/instances/{row.id}/reinstall", person, 400)).json()
    assert refused["code"] == "INSTANCE_HAS_NO_MACHINE"
    assert commands(seeded, row) == []


async def test_of_reinstall_and_terminate_at_once_both_keep_their_word(seeded: SeededApi, person: Person):
    """Whichever comes first: the instance ends, and a reinstall that was refused left nothing behind."""
    await seeded.introduce(person)
    for _ in range(5):
        row = seeded.rows.machine(person.organization_id)
        ended, reinstalled = await asyncio.gather(
            seeded.call("DELETE", f"/instances/{row.id}", person, 202),
            seeded.call("POST", f"/instances/{row.id}/reinstall", person),
        )
        assert reinstalled.status_code in {202, 409}
        kinds = {operation.kind for operation in seeded.rows.all(Operation, resource_id=row.id)}
        assert (OperationKind.INSTANCE_REINSTALL in kinds) == (reinstalled.status_code == 202)
        assert ended.json()["status"] == "terminating"
        assert now(seeded, row).desired_status is DesiredStatus.TERMINATED


# -- Archive


async def test_a_terminated_instance_leaves_the_lists(seeded: SeededApi, person: Person):
    row = seeded.rows.machine(person.organization_id, S.TERMINATED)
    answer = (await seeded.call("PUT", f"/instances/{row.id}/archive", person, 200)).json()
    assert answer["status"] == "archived"
    assert (now(seeded, row).status, now(seeded, row).is_archived) == (S.ARCHIVED, True)
    assert (await seeded.call("GET", "/instances", person, 200)).json() == []
    assert seeded.rows.one(ActionLog, instance_id=row.id).action_type == "ARCHIVE_INSTANCE"
    await seeded.call("PUT", f"/instances/{row.id}/archive", person, 200)
    assert len(seeded.rows.all(InstanceStateChange, instance_id=row.id)) == 1, "archiving twice is once"


@pytest.mark.parametrize("status", [status for status in S if status not in FINAL])
async def test_nothing_else_can_be_archived(seeded: SeededApi, person: Person, status: InstanceStatus):
    row = seeded.rows.machine(person.organization_id, status)
    refused = (await seeded.call("PUT", f"/instances/{row.id}/archive", person, 400)).json()
    assert refused["code"] == "INSTANCE_NOT_TERMINATED"
    assert status.value in refused["detail"]
    assert (now(seeded, row).status, now(seeded, row).is_archived) == (status, False)


async def test_what_is_only_asked_to_end_cannot_be_archived_and_is_called_terminating(
    seeded: SeededApi, person: Person
):
    row = seeded.rows.machine(person.organization_id)
    await seeded.call("DELETE", f"/instances/{row.id}", person, 202)
    refused = (await seeded.call("PUT", f"/instances/{row.id}/archive", person, 400)).json()
    assert "terminating" in refused["detail"]


# -- Ids, people, credentials


@pytest.mark.parametrize(("method", "suffix"), WRITES)
async def test_unknown_and_foreign_instances_do_not_exist(seeded: SeededApi, person: Person, method: str, suffix: str):
    foreign = seeded.rows.machine(seeded.people.person().organization_id)
    for instance_id in (foreign.id, new_id()):
        refused = (await seeded.call(method, f"/instances/{instance_id}{suffix}", person, 404)).json()
        assert refused["code"] == "INSTANCE_NOT_FOUND"
    assert now(seeded, foreign).version == foreign.version
    assert commands(seeded, foreign) == []


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(("method", "suffix"), WRITES)
async def test_owner_and_admin_command_and_others_may_not(seeded: SeededApi, role: Role, method: str, suffix: str):
    person = seeded.people.person(role)
    row = seeded.rows.machine(person.organization_id, S.TERMINATED if suffix == "/archive" else S.READY)
    response = await seeded.call(method, f"/instances/{row.id}{suffix}", person)
    if role in MAY_WRITE:
        assert response.status_code in {200, 202}
        return
    assert (response.status_code, response.json()["code"]) == (403, "PERMISSION_DENIED")
    assert "instances:write" in response.json()["detail"]
    assert (now(seeded, row).version, commands(seeded, row)) == (row.version, [])
    await seeded.call("GET", f"/instances/{row.id}", person, 200)


async def test_a_superadmin_is_nobody_special_in_an_organization(seeded: SeededApi):
    """What belongs to an organization is its own (DESIGN 3)."""
    superadmin = seeded.people.person(Role.VIEWER, is_superadmin=True)
    row = seeded.rows.machine(superadmin.organization_id)
    foreign = seeded.rows.machine(seeded.people.person().organization_id)
    await seeded.call("DELETE", f"/instances/{row.id}", superadmin, 403)
    await seeded.call("GET", f"/instances/{foreign.id}", superadmin, 404)


async def test_a_key_does_what_its_scopes_say_and_no_more(seeded: SeededApi):
    reader = seeded.people.person(Role.OWNER, scopes=["instances:read"])
    row = seeded.rows.machine(reader.organization_id)
    await seeded.call("GET", f"/instances/{row.id}", reader, 200)
    for method, suffix in WRITES:
        await seeded.call(method, f"/instances/{row.id}{suffix}", reader, 403)
    await seeded.call("POST", "/deployments", reader, 403, json={"model_id": "mock-echo-model"})
    writer = seeded.people.person(Role.OWNER, organization_id=reader.organization_id, scopes=["instances:write"])
    await seeded.call("GET", f"/instances/{row.id}", writer, 403)
    await seeded.call("DELETE", f"/instances/{row.id}", writer, 202)
    viewer = seeded.people.person(Role.VIEWER, organization_id=reader.organization_id, scopes=["instances:write"])
    await seeded.call("POST", f"/instances/{row.id}/reinstall", viewer, 403)


async def test_nobody_is_401_on_every_command(seeded: SeededApi, person: Person):
    row = seeded.rows.machine(person.organization_id)
    for method, suffix in [*WRITES, ("GET", ""), ("GET", "/metrics")]:
        response = await seeded.api.client.request(method, f"/instances/{row.id}{suffix}")
        assert (response.status_code, response.json()["code"]) == (401, "LOGIN_REQUIRED")
        assert response.headers["www-authenticate"] == "Bearer"


async def test_an_api_key_is_taken_in_either_header(seeded: SeededApi, person: Person):
    row = seeded.rows.machine(person.organization_id)
    for headers in ({"x-api-key": person.api_key}, {"authorization": f"bearer {person.api_key}"}):
        assert (await seeded.api.client.get(f"/instances/{row.id}", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"sec-fetch-site": "same-origin"}, 202),
        ({"origin": "http://testserver"}, 202),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
async def test_a_page_of_another_site_commands_nothing_with_a_cookie(
    seeded: SeededApi, person: Person, headers: dict[str, str], status: int
):
    row = seeded.rows.machine(person.organization_id)
    async with client_of(seeded.api.app) as browser:
        await browser.post("/auth/login", json={"email": person.email, "password": PASSWORD})
        response = await browser.delete(f"/instances/{row.id}", headers=headers)
        assert (await browser.get(f"/instances/{row.id}", headers=headers)).status_code == 200, "reading is no harm"
    assert response.status_code == status
    if status == 403:
        assert response.json()["code"] == "CROSS_ORIGIN"
        assert commands(seeded, row) == []
    keyed = await seeded.call("DELETE", f"/instances/{row.id}", person, headers=headers)
    assert keyed.status_code == 202, "a page cannot send a key that it does not have"


# -- Nobody behind the API


async def test_commands_are_answered_while_temporal_is_away(seeded: SeededApi, person: Person):
    for _ in range(5):
        order = {"model_id": "mock-echo-model"}
        ordered = (await seeded.call("POST", "/deployments", person, 200, json=order)).json()
        row = seeded.rows.machine(person.organization_id)
        await seeded.call("POST", f"/instances/{row.id}/reinstall", person, 202)
        await seeded.call("DELETE", f"/instances/{row.id}", person, 202)
        await seeded.call("DELETE", f"/instances/{ordered['instance_id']}", person, 200)
    undelivered = seeded.rows.all(OutboxRow, organization_id=person.organization_id, delivered_at=None)
    assert len(undelivered) == 15, "what could not be delivered stays for the dispatcher"


async def test_commands_are_answered_while_temporal_accepts_and_says_nothing(
    database: TestDatabase, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    """Who waited for an answer of Temporal would have none himself for an hour."""
    monkeypatch.setattr(outbox, "RPC_TIMEOUT", timedelta(hours=1))
    accepted: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _reader, writer: accepted.append(writer), "127.0.0.1", 0)
    address = f"127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    try:
        async with seeded_api(database, tmp_path_factory.mktemp("home"), temporal_address=address) as seeded:
            person = seeded.people.person()
            await seeded.call("GET", "/instances", person, 200)
            for _ in range(20):
                await seeded.deploy(person, model_id="mock-echo-model")
            row = seeded.rows.machine(person.organization_id)
            await seeded.call("POST", f"/instances/{row.id}/reinstall", person, 202)
            await seeded.call("DELETE", f"/instances/{row.id}", person, 202)
    finally:
        for writer in accepted:
            writer.close()
        silent.close()
        await silent.wait_closed()
    assert accepted, "nobody called Temporal: this test shows nothing"
