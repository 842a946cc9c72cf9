"""The API as its own process with people and things in it, and what every answer of it is held against."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import requests
from schemathesis import Case, CheckFunction
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from models.domain.fleet.instances.state import InstanceStatus
from models.domain.identity.roles import Role
from models.tables.activity import ActionComponent, ActionLog, ActionStatus
from models.tables.fleet.catalog import InstanceType, LlmModel, Zone
from tests.api.conftest import People, Person
from tests.factories import fleet
from tests.factories.rows import Rows
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase

MODEL = "mock-echo-model"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    negative_data_rejection,
]

EVENT_STREAM = "text/event-stream"


@dataclass
class Target:
    """`people` are who may call, by the words of the tests (who is missing is nobody); `things` are ids that exist, by the
    name of the path parameter that takes them.
    """

    url: str
    people: Mapping[str, Person]
    things: Mapping[str, list[UUID]]
    session: requests.Session = field(default_factory=requests.Session)
    _addresses: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def check(self, case: Case[Any], caller: str) -> None:
        """Send the request as this caller. Raises what the checks find."""
        self._name_things(case)
        response = case.call(self.url, self.session, self._headers(caller), timeout=GIVE_UP_S)
        case.validate_response(response, checks=checks_for(case, response.headers.get("content-type", [""])[0]))

    def check_stream(self, case: Case[Any], caller: str) -> None:
        """The same for a stream without end: its head and its first event are looked at, then the connection is closed."""
        self._name_things(case)
        sent = case.as_transport_kwargs(base_url=self.url, headers=self._headers(caller))
        with self.session.request(**sent, stream=True, timeout=GIVE_UP_S) as response:
            if response.status_code != 200:
                case.validate_response(response, checks=checks_for(case, response.headers.get("content-type", "")))
                return
            assert response.headers["content-type"].partition(";")[0] == EVENT_STREAM
            assert EVENT_STREAM in case.operation.definition.raw["responses"]["200"]["content"]
            assert next(response.iter_lines(chunk_size=1)) == b"event: hello"

    def _headers(self, caller: str) -> dict[str, str]:
        """Each request comes from an address of its own: otherwise the limit on sign-ins answers most of them."""
        number = next(self._addresses)
        address = {"x-forwarded-for": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"}
        person = self.people.get(caller)
        return address | ({} if person is None else person.bearer)

    def _name_things(self, case: Case[Any]) -> None:
        """Generated ids exist nowhere: half of the well-formed ones become ids of real things, always the same ones."""
        if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
            return
        for name, value in case.path_parameters.items():
            known, number = self.things.get(name, []), zlib.crc32(str(value).encode())
            if known and number % 2:
                case.path_parameters[name] = str(known[number // 2 % len(known)])
        if isinstance(case.body, dict):
            for name in ("model", "model_id"):
                if isinstance(case.body.get(name), str) and zlib.crc32(repr(case.body[name]).encode()) % 2:
                    case.body[name] = MODEL


def checks_for(case: Case[Any], content_type: str) -> list[CheckFunction]:
    """`CHECKS` without those that do not apply: each with its reason."""
    left_out: list[CheckFunction] = []
    if case.operation.path.endswith(
        "/search"
    ):  # for the methods of `/x/{id}` that path is an id, and no valid one (422)
        left_out.append(unsupported_method)
    if content_type.startswith(EVENT_STREAM):  # the check takes each event for a JSON value, as OpenAPI 3.2 may say it
        left_out.append(response_schema_conformance)
    return [check for check in CHECKS if check not in left_out]


def populate(database: TestDatabase, port: int) -> tuple[dict[str, Person], dict[str, list[UUID]]]:
    """A member and an administrator of one organization that has instances in every state, and one that serves."""
    people, rows = People(database), Rows(database)
    organization_id = people.organization()
    member = people.person(Role.USER, organization_id=organization_id)
    admin = people.person(Role.OWNER, organization_id=organization_id, is_superadmin=True)
    model_id = rows.one(LlmModel, model_id=MODEL).id
    machines = [rows.machine(organization_id, status, model_id=model_id) for status in InstanceStatus for _ in range(2)]
    serving = rows.machine(organization_id, model_id=model_id, endpoint_port=port)
    rows.add(fleet.serving(serving, MODEL))
    operations = [rows.operation(machine) for machine in machines]
    for machine in machines:
        rows.add(
            ActionLog(
                organization_id=organization_id, action_type="HEALTH_CHECK", component=ActionComponent.ORCHESTRATOR,
                status=ActionStatus.SUCCESS, instance_id=machine.id,
            )
        )  # fmt: skip
    spare = [people.key(organization_id, admin.user_id)[0] for _ in range(3)]
    things = {
        "instance_id": [machine.id for machine in machines],
        "operation_id": [operation.id for operation in operations],
        "api_key_id": spare,
        "zone_id": [zone.id for zone in rows.all(Zone)],
        "instance_type_id": [kind.id for kind in rows.all(InstanceType)],
        "model": [model.id for model in rows.all(LlmModel)],
    }
    rows.close()
    people.close()
    return {"member": member, "admin": admin}, things
