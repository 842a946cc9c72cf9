"""Ordering an instance: what is refused and why, what is chosen when little is said (contract/fleet.md 2.9, decisions 10 to 12)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from models.base.clock import utc_now
from models.base.ids import new_id
from models.domain.fleet.instances.state import InstanceStatus
from models.domain.identity.roles import Role
from models.tables.activity import ActionLog
from models.tables.fleet.catalog import InstanceTypeZone, LlmModel, Provider, Region, Zone
from models.tables.fleet.instances import Instance, InstanceStateChange
from models.tables.operations import Operation, OutboxRow
from tests.api.conftest import Person
from tests.factories.seeded import LOCAL_ZONE, SeededApi, seeded_api
from tests.servers import TestDatabase

PROBLEM_KEYS = {"type", "title", "status", "detail", "error", "code", "details", "request_id"}
ECHO, SMOL = "mock-echo-model", "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture
async def fresh(database: TestDatabase, tmp_path: Any) -> AsyncIterator[SeededApi]:
    """An installation of one's own, as it is after its first start."""
    async with seeded_api(database, tmp_path) as seeded:
        yield seeded


def codes_of(seeded: SeededApi, instance: Instance) -> tuple[str | None, str | None, str]:
    """Zone, type and provider of an accepted order."""
    return instance.zone_code, instance.instance_type_code, instance.provider_code


# -- What is refused


def nothing(_seeded: SeededApi) -> dict[str, object]:
    return {}


def inactive_zone(seeded: SeededApi) -> dict[str, object]:
    provider, zone = seeded.rows.market(f"m-{new_id()}")
    seeded.rows.offer(provider, zone, "big", ram_gb=500, price_eur_per_hour=Decimal(900))
    seeded.rows.change(zone, is_active=False)
    return {"model_id": SMOL, "provider_code": provider.code, "zone": zone.code, "instance_type": "big"}


def inactive_region(seeded: SeededApi) -> dict[str, object]:
    provider, zone = seeded.rows.market(f"m-{new_id()}")
    seeded.rows.offer(provider, zone, "big", ram_gb=500, price_eur_per_hour=Decimal(900))
    seeded.rows.change(seeded.rows.one(Region, id=zone.region_id), is_active=False)
    return {"model_id": SMOL, "provider_code": provider.code, "zone": zone.code}


def inactive_type(seeded: SeededApi) -> dict[str, object]:
    provider, zone = seeded.rows.market(f"m-{new_id()}")
    kind = seeded.rows.offer(provider, zone, "big", ram_gb=500, price_eur_per_hour=Decimal(900), is_active=False)
    return {"model_id": SMOL, "provider_code": provider.code, "instance_type": kind.code}


def sold_out_type(seeded: SeededApi) -> dict[str, object]:
    provider, zone = seeded.rows.market(f"m-{new_id()}")
    kind = seeded.rows.offer(provider, zone, "big", ram_gb=500, price_eur_per_hour=Decimal(900))
    seeded.rows.change(seeded.rows.one(InstanceTypeZone, instance_type_id=kind.id), is_available=False)
    return {"model_id": SMOL, "provider_code": provider.code, "instance_type": kind.code}


def inactive_model(seeded: SeededApi) -> dict[str, object]:
    return {"model_id": seeded.rows.model(f"off-{new_id()}", 0, is_active=False).code, "provider_code": "local"}


def unpriced_type(seeded: SeededApi) -> dict[str, object]:
    provider, zone = seeded.rows.market(f"m-{new_id()}")
    kind = seeded.rows.offer(provider, zone, "big", ram_gb=500)
    return {"model_id": SMOL, "provider_code": provider.code, "instance_type": kind.code}


def a_little_too_small(seeded: SeededApi) -> dict[str, object]:
    provider, zone = seeded.rows.market(f"m-{new_id()}")
    kind = seeded.rows.offer(
        provider, zone, "l4-4", gpu_count=4, vram_per_gpu_gb=24, ram_gb=500, price_eur_per_hour=Decimal(3)
    )
    return {"model_id": "meta-llama-3-70b-instruct", "provider_code": provider.code, "instance_type": kind.code}


def no_gpu_and_too_little_ram(seeded: SeededApi) -> dict[str, object]:
    provider, zone = seeded.rows.market(f"m-{new_id()}")
    kind = seeded.rows.offer(provider, zone, "cpu", ram_gb=15, price_eur_per_hour=Decimal(3))
    return {"model_id": "qwen2.5-7b-instruct", "provider_code": provider.code, "instance_type": kind.code}


def only(**order: object) -> Callable[[SeededApi], dict[str, object]]:
    return lambda _seeded: order


REFUSALS: list[tuple[str, str, Callable[[SeededApi], dict[str, object]]]] = [
    ("an empty order", "MISSING_MODEL", nothing),
    ("no model", "MISSING_MODEL", only(provider_code="mock", zone="local", instance_type="sim-l4-1-24g")),
    ("an empty model", "MISSING_MODEL", only(model_id="")),
    ("a model of spaces", "MISSING_MODEL", only(model_id="   ")),
    ("null for a model", "MISSING_MODEL", only(model_id=None)),
    ("a provider that is not configured", "INVALID_PROVIDER", only(model_id=SMOL, provider_code="aws")),
    ("a provider without an adapter", "INVALID_PROVIDER", only(model_id=SMOL, provider_code="scaleway")),
    ("an unknown zone", "INVALID_ZONE", only(model_id=SMOL, provider_code="local", zone="nowhere")),
    ("an unknown zone of no provider", "INVALID_ZONE", only(model_id=SMOL, zone="nowhere")),
    ("the zone of another provider", "INVALID_ZONE", only(model_id=ECHO, provider_code="mock", zone="fr-par-2")),
    ("an inactive zone", "INVALID_ZONE", inactive_zone),
    ("a zone of an inactive region", "INVALID_ZONE", inactive_region),
    ("an unknown type", "INVALID_INSTANCE_TYPE", only(model_id=ECHO, provider_code="mock", instance_type="h900")),
    ("the type of another provider", "INVALID_INSTANCE_TYPE", only(model_id=ECHO, provider_code="mock", instance_type="H100-1-80G")),
    ("a type that the zone does not have", "INVALID_INSTANCE_TYPE", only(model_id=ECHO, provider_code="mock", zone="sim-b", instance_type="sim-l40s-1-48g")),
    ("an inactive type", "INVALID_INSTANCE_TYPE", inactive_type),
    ("a type that is not available", "INVALID_INSTANCE_TYPE", sold_out_type),
    ("an unknown model", "INVALID_MODEL", only(model_id="org/no-such-model", provider_code="mock")),
    ("an unknown uuid for a model", "INVALID_MODEL", only(model_id="0198c0de-0000-7000-8000-000000000000")),
    ("an inactive model", "INVALID_MODEL", inactive_model),
    ("another model than the echo on a simulated machine", "INCOMPATIBLE_MODEL_INSTANCE", only(model_id=SMOL, provider_code="mock", instance_type="sim-h100-1-80g")),
    ("160 GB on 96 GB", "INCOMPATIBLE_MODEL_INSTANCE", a_little_too_small),
    ("16 GB on 15 GB of RAM without a GPU", "INCOMPATIBLE_MODEL_INSTANCE", no_gpu_and_too_little_ram),
    ("a type without a price", "UNPRICED_INSTANCE_TYPE", unpriced_type),
]  # fmt: skip


@pytest.mark.parametrize(("code", "order"), [pytest.param(*rest, id=name) for name, *rest in REFUSALS])
async def test_a_refused_order_is_400_and_a_row_keeps_the_reason(
    seeded: SeededApi, person: Person, code: str, order: Callable[[SeededApi], dict[str, object]]
):
    body = order(seeded)
    response = await seeded.call("POST", "/deployments", person, 400, json=body)
    answer = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert set(answer) == PROBLEM_KEYS | {"message", "instance_id"}
    assert (answer["status"], answer["code"]) == ("failed", code)
    assert answer["message"] == answer["error"] == answer["detail"]
    assert len(answer["message"]) > 20, "a person must learn what to do"
    row = seeded.rows.one(Instance, organization_id=person.organization_id)
    assert str(row.id) == answer["instance_id"]
    assert row.status is InstanceStatus.PROVISIONING_FAILED
    assert (row.error_code, row.error_message) == (code, answer["message"])
    assert row.failed_at is not None
    assert utc_now() - row.failed_at < timedelta(minutes=1)
    seen = (await seeded.call("GET", f"/instances/{row.id}", person, 200)).json()
    assert (seen["status"], seen["error_code"], seen["progress_percent"]) == ("provisioning_failed", code, 0)


async def test_a_refused_order_starts_nothing_and_is_logged(seeded: SeededApi, person: Person):
    refused = await seeded.deploy(person, 400, provider_code="mock")
    organization = {"organization_id": person.organization_id}
    assert seeded.rows.all(Operation, **organization) == []
    assert seeded.rows.all(OutboxRow, **organization) == []
    log = seeded.rows.one(ActionLog, **organization)
    assert (log.action_type, log.component, log.status, log.error_code) == (
        "REQUEST_CREATE", "api", "failed", "MISSING_MODEL",
    )  # fmt: skip
    assert (str(log.instance_id), log.user_id) == (refused["instance_id"], person.user_id)
    history = seeded.rows.one(InstanceStateChange, **organization)
    assert (history.from_status, history.to_status) == (None, InstanceStatus.PROVISIONING_FAILED)


@pytest.mark.parametrize(
    "order",
    [
        {"provider_code": "no-such-cloud", "model_id": SMOL},
        {"provider_code": "LOCAL", "model_id": SMOL},
        {"provider_id": "0198c0de-0000-7000-8000-000000000000", "model_id": SMOL},
        {"provider_id": "0198c0de-0000-7000-8000-000000000000", "provider_code": "local", "model_id": SMOL},
        {"provider_code": "no-such-cloud"},
    ],
)
async def test_an_unknown_provider_is_400_and_no_row(seeded: SeededApi, person: Person, order: dict[str, object]):
    refused = await seeded.deploy(person, 400, **order)
    assert refused["code"] == "UNKNOWN_PROVIDER"
    assert set(refused) == PROBLEM_KEYS
    assert "/providers" in refused["detail"]
    assert seeded.rows.all(Instance, organization_id=person.organization_id) == []


@pytest.mark.parametrize(
    "order",
    [
        {"model_id": 7},
        {"model_id": ["a"]},
        {"model_id": "x" * 201},
        {"model_id": SMOL, "zone": {"code": "local"}},
        {"model_id": SMOL, "provider_id": "not-a-uuid"},
        {"model_id": SMOL, "on_unavailable": "explode"},
        {"model_id": SMOL, "instance_typ": "a misspelt field would silently mean something else"},
        {"model_id": "nul\0"},
        [],
        "text",
        None,
    ],
)
async def test_a_wrong_field_is_422_and_no_row(seeded: SeededApi, person: Person, order: object):
    answer = (await seeded.call("POST", "/deployments", person, 422, json=order)).json()
    assert answer["code"] == "INVALID_REQUEST"
    assert seeded.rows.all(Instance, organization_id=person.organization_id) == []


# -- What is accepted


async def test_an_accepted_order_is_one_transaction_of_row_operation_and_message(seeded: SeededApi, person: Person):
    response = await seeded.call("POST", "/deployments", person, 200, json={"model_id": ECHO, "provider_code": "mock"})
    answer = response.json()
    assert set(answer) >= {"status", "instance_id", "operation"}
    assert answer["status"] == "accepted"
    operation = answer["operation"]
    assert response.headers["location"] == operation["links"]["self"] == f"/operations/{operation['id']}"
    assert (operation["kind"], operation["status"], operation["progress"]) == ("instance.provision", "pending", 0.0)
    assert operation["resource"] == {
        "kind": "instance", "id": answer["instance_id"], "url": f"/instances/{answer['instance_id']}",
    }  # fmt: skip
    assert operation["waiting_on"]["what"], "nothing waits in silence"
    row = seeded.rows.one(Instance, organization_id=person.organization_id)
    assert (str(row.id), row.status, row.generation) == (answer["instance_id"], InstanceStatus.PROVISIONING, 1)
    assert row.created_by_user_id == person.user_id
    assert row.create_attempted_at is None
    message = seeded.rows.one(OutboxRow, organization_id=person.organization_id)
    assert (message.kind, message.workflow_id) == ("start", f"instance/{row.id}")
    assert message.payload == {"instance_id": str(row.id), "operation_id": operation["id"]}
    log = seeded.rows.one(ActionLog, organization_id=person.organization_id)
    assert (log.action_type, log.status, str(log.instance_id)) == ("REQUEST_CREATE", "success", str(row.id))


async def test_a_model_is_named_by_row_id_code_or_hugging_face_id(seeded: SeededApi, person: Person):
    model = seeded.rows.one(LlmModel, model_id=SMOL)
    for name in (str(model.id), str(model.id).upper(), model.code, model.model_id, f"  {model.code} "):
        accepted = await seeded.deploy(person, model_id=name, provider_code="local")
        assert seeded.rows.one(Instance, id=UUID(accepted["instance_id"])).model_id == model.id, name


async def test_a_provider_may_be_named_by_id_which_wins(seeded: SeededApi, person: Person):
    mock = seeded.rows.one(Provider, code="mock")
    accepted = await seeded.deploy(person, model_id=ECHO, provider_id=str(mock.id), provider_code="local")
    assert seeded.rows.one(Instance, id=UUID(accepted["instance_id"])).provider_code == "mock"


async def test_equal_memory_is_enough(seeded: SeededApi, person: Person):
    provider, zone = seeded.rows.market(f"m-{new_id()}")
    seeded.rows.offer(
        provider, zone, "h100-2", gpu_count=2, vram_per_gpu_gb=80, ram_gb=1, price_eur_per_hour=Decimal(900)
    )
    seeded.rows.offer(provider, zone, "cpu-16", ram_gb=16, price_eur_per_hour=Decimal(901))
    for model, kind in (("meta-llama-3-70b-instruct", "h100-2"), ("qwen2.5-7b-instruct", "cpu-16")):
        accepted = await seeded.deploy(person, model_id=model, provider_code=provider.code, instance_type=kind)
        assert seeded.rows.one(Instance, id=UUID(accepted["instance_id"])).instance_type_code == kind


async def test_what_is_left_out_on_a_fresh_install_becomes_local(fresh: SeededApi):
    person = fresh.people.person()
    for nothing_said in (
        {},
        {"zone": "", "instance_type": "", "provider_code": ""},
        {"zone": None, "provider_id": None},
    ):
        accepted = await fresh.deploy(person, model_id="smollm2-135m-instruct", **nothing_said)
        row = fresh.rows.one(Instance, id=UUID(accepted["instance_id"]))
        assert codes_of(fresh, row) == (LOCAL_ZONE, "local-cpu-small", "local")
        assert (row.price_eur_per_hour, row.price_source) == (None, "none")
        seen = (await fresh.call("GET", f"/instances/{row.id}", person, 200)).json()
        assert (seen["cost_per_hour"], seen["total_cost"]) == (None, 0.0)


async def test_what_is_left_out_becomes_the_cheapest_active_offer_that_fits(fresh: SeededApi):
    person, rows = fresh.people.person(), fresh.rows
    rows.change(rows.one(Provider, code="scaleway"), is_active=True, has_adapter=True)
    cases: list[tuple[dict[str, Any], tuple[str, str, str]]] = [
        ({"model_id": ECHO}, ("local", "mock-local-instance", "mock")),
        ({"model_id": ECHO, "zone": "sim-b"}, ("sim-b", "mock-local-instance", "mock")),
        ({"model_id": ECHO, "instance_type": "sim-l4-1-24g"}, ("local", "sim-l4-1-24g", "mock")),
        ({"model_id": ECHO, "instance_type": "sim-l4-1-24g", "zone": "sim-b"}, ("sim-b", "sim-l4-1-24g", "mock")),
        ({"model_id": "qwen2.5-7b-instruct"}, ("fr-par-2", "L4-1-24G", "scaleway")),
        ({"model_id": "gemma-2-27b-it"}, ("fr-par-2", "L40S-1-48G", "scaleway")),
        ({"model_id": "meta-llama-3-70b-instruct"}, ("fr-par-2", "H100-2-80G", "scaleway")),
        ({"model_id": "qwen2.5-7b-instruct", "instance_type": "H100-1-80G"}, ("fr-par-2", "H100-1-80G", "scaleway")),
    ]
    for order, expected in cases:
        accepted = await fresh.deploy(person, **order)
        assert codes_of(fresh, rows.one(Instance, id=UUID(accepted["instance_id"]))) == expected, order
    rows.change(rows.one(Zone, code="fr-par-2"), is_active=False)
    refused = await fresh.deploy(person, 400, model_id="qwen2.5-7b-instruct")
    assert refused["code"] in {"INCOMPATIBLE_MODEL_INSTANCE", "NO_FITTING_OFFER"}


async def test_an_order_that_its_provider_could_not_keep_is_refused(fresh: SeededApi):
    """What is left out becomes what the provider can do."""
    person, rows = fresh.people.person(), fresh.rows
    rows.change(rows.one(Provider, code="scaleway"), is_active=True, has_adapter=True)
    model = {"model_id": "qwen2.5-7b-instruct"}
    for policy in ("reinstall", "restart_agent"):
        refused = await fresh.deploy(person, 400, **model, on_unavailable=policy)
        assert refused["code"] == "INVALID_PROVIDER"
        assert refused["message"].endswith("one of wait, terminate")
    for order in (model, model | {"on_unavailable": "wait"}):
        accepted = await fresh.deploy(person, 200, **order)
        assert rows.one(Instance, id=UUID(accepted["instance_id"])).on_unavailable == "wait"


async def test_the_price_is_that_of_the_zone_and_stays_when_the_catalogue_changes(fresh: SeededApi):
    person, rows = fresh.people.person(), fresh.rows
    accepted = await fresh.deploy(person, model_id=ECHO, instance_type="sim-l4-1-24g", zone="sim-b")
    row = rows.one(Instance, id=UUID(accepted["instance_id"]))
    assert (row.price_eur_per_hour, row.price_source) == (Decimal("0.79"), "catalog")
    link = rows.one(InstanceTypeZone, instance_type_id=row.instance_type_id, zone_id=row.zone_id)
    rows.change(link, price_eur_per_hour=Decimal(99))
    seen = (await fresh.call("GET", f"/instances/{row.id}", person, 200)).json()
    assert seen["cost_per_hour"] == 0.79


# -- Who may


@pytest.mark.parametrize("role", list(Role))
async def test_owner_and_admin_order_and_others_may_not(seeded: SeededApi, role: Role):
    person = seeded.people.person(role)
    may = role in {Role.OWNER, Role.ADMIN}
    for order in ({"model_id": ECHO}, {}):
        response = await seeded.call("POST", "/deployments", person, json=order)
        assert response.status_code == (403 if not may else 200 if order else 400)
    if not may:
        assert response.json()["code"] == "PERMISSION_DENIED"
        assert seeded.rows.all(Instance, organization_id=person.organization_id) == []
