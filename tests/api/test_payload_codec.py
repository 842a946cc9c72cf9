"""`/internal/codec/decode`: what Temporal's web UI asks to show an operator what a workflow was given."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload, Payloads

from activities.runtime.codec import EncryptionCodec
from models.domain.identity.roles import Role
from models.domain.keys import Purpose, derive
from tests.api.conftest import People, Person, RunningApi, running_api
from tests.factories.seeded import SeededApi, lonely_settings
from tests.servers import TestDatabase

PATH = "/internal/codec/decode"
UI_URL = "http://127.0.0.1:8233"
OF_THE_UI = {"origin": UI_URL, "x-namespace": "default", "content-type": "application/json"}
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'{"prompt": "hello"}')


@pytest.fixture(scope="module")
def superadmin(seeded: SeededApi) -> Person:
    return seeded.people.person(is_superadmin=True)


async def sealed(key: bytes) -> dict[str, Any]:
    payloads = await EncryptionCodec(derive(key, Purpose.CODEC)).encode([PLAIN])
    found: dict[str, Any] = MessageToDict(Payloads(payloads=payloads))
    return found


def altered(body: dict[str, Any]) -> dict[str, Any]:
    [payload] = body["payloads"]
    data = bytearray(base64.b64decode(payload["data"]))
    data[-1] ^= 1
    return {"payloads": [{**payload, "data": base64.b64encode(bytes(data)).decode()}]}


@pytest.fixture
async def beside_a_ui(database: TestDatabase, tmp_path: Path) -> AsyncIterator[RunningApi]:
    async with running_api(lonely_settings(database, tmp_path, temporal_ui_url=UI_URL)) as api:
        yield api


async def test_the_ui_reads_what_was_sealed_for_a_superadmin(beside_a_ui: RunningApi, people: People) -> None:
    body = await sealed(beside_a_ui.state.installation_key)
    allowed = await beside_a_ui.client.options(PATH, headers=OF_THE_UI)
    assert allowed.status_code == 204
    assert {"content-type", "x-namespace"} <= set(allowed.headers["access-control-allow-headers"].split(", "))
    person = people.person(is_superadmin=True)
    answer = await beside_a_ui.client.post(PATH, json=body, headers={**person.bearer, **OF_THE_UI})
    [payload] = answer.json()["payloads"]
    assert json.loads(base64.b64decode(payload["data"])) == {"prompt": "hello"}
    for response in (allowed, answer):
        assert response.headers["access-control-allow-origin"] == UI_URL
        assert response.headers["access-control-allow-credentials"] == "true"


async def test_what_was_never_sealed_passes(seeded: SeededApi, superadmin: Person) -> None:
    body = MessageToDict(Payloads(payloads=[PLAIN]))
    assert (await seeded.call("POST", PATH, superadmin, 200, json=body)).json() == body


@pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN, Role.USER])
async def test_nobody_but_a_superadmin_may(seeded: SeededApi, role: Role) -> None:
    body = await sealed(seeded.api.state.installation_key)
    refused = await seeded.call("POST", PATH, seeded.people.person(role), 403, json=body)
    assert refused.json()["code"] == "ADMIN_REQUIRED"
    assert (await seeded.api.client.post(PATH, json=body)).status_code == 401


async def test_what_does_not_open_is_the_callers_fault(seeded: SeededApi, superadmin: Person) -> None:
    foreign = await sealed(b"k" * 32)
    damaged = altered(await sealed(seeded.api.state.installation_key))
    for body, code in ((foreign, "PAYLOAD_KEY_UNKNOWN"), (damaged, "PAYLOAD_CORRUPT")):
        refused = (await seeded.call("POST", PATH, superadmin, 400, json=body)).json()
        assert refused["code"] == code
        assert len(refused["detail"]) > 20


NO_PAYLOADS = [
    b"", b"[]", b"{", b'{"payloads": 7}', b"\xff", b"null", b'{"unknown": 1}', b"[" * 100_000, b'{"payloads":' * 50_000,
    b'{"payloads": [' + b"[" * 5_000 + b"]" * 5_000 + b"]}", b"9" * 5_000, b'{"payloads": ["\\ud800"]}',
    b'{"payloads": [{"data": "\\ud800"}]}', b'{"payloads": 1e400}',
]  # fmt: skip


@pytest.mark.parametrize("body", NO_PAYLOADS, ids=range(len(NO_PAYLOADS)))
async def test_what_is_no_payload_is_400(seeded: SeededApi, superadmin: Person, body: bytes) -> None:
    refused = await seeded.call("POST", PATH, superadmin, 400, content=body, headers=OF_THE_UI)
    assert refused.json()["code"] == "MALFORMED_REQUEST"
