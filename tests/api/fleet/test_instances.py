"""Instances as people and programs read them (contract/fleet.md 2.11, 3.3, 18 fact 12)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from models.base.clock import utc_now
from models.base.ids import new_id
from models.domain.fleet.billing.segments import PriceSource, UsageKind
from models.domain.fleet.instances.state import DesiredStatus, InstanceStatus
from models.domain.holds import HoldCode
from models.domain.identity.roles import Role
from models.tables.fleet.billing import BillingSegment
from models.tables.fleet.catalog import InstanceType, InstanceTypeZone, LlmModel, Provider, Region, Zone
from models.tables.fleet.instances import Instance, InstanceVolume, VolumeStatus
from tests.api.conftest import Person
from tests.factories.seeded import SeededApi

CONTRACT_FIELDS = {
    "id", "provider_id", "zone_id", "instance_type_id", "model_id", "provider_instance_id",
    "model_name", "model_code",
    "status", "ip_address", "is_archived", "deleted_by_provider", "deletion_reason", "error_code", "error_message",
    "health_check_failures", "progress_percent",
    "worker_status", "worker_last_heartbeat", "worker_model_id", "worker_queue_depth", "worker_gpu_utilization",
    "worker_health_port", "worker_vllm_port", "worker_metadata",
    "created_at", "terminated_at", "last_health_check", "last_reconciliation",
    "storage_count", "storage_sizes_gb",
    "provider_name", "region", "zone", "instance_type", "cpu_count", "ram_gb", "gpu_vram", "gpu_count",
    "cost_per_hour", "total_cost",
}  # fmt: skip
"""contract/fleet.md 2.11, InstanceResponse: fields may be added, none dropped (decision 1)."""

STORAGE_FIELDS = {
    "id", "provider_volume_id", "name", "volume_type", "size_gb", "is_boot", "status", "delete_on_terminate", "created_at",
    "attached_at", "deleted_at", "reconciled_at", "last_reconciliation", "error_message",
}  # fmt: skip

IDLE_STATES = {
    InstanceStatus.TERMINATING, InstanceStatus.TERMINATED, InstanceStatus.ARCHIVED, InstanceStatus.PROVISIONING_FAILED,
    InstanceStatus.STARTUP_FAILED, InstanceStatus.FAILED, InstanceStatus.UNAVAILABLE, InstanceStatus.DRAINING,
}  # fmt: skip


@pytest.fixture
def person(seeded: SeededApi) -> Person:
    """Reading needs no more than the least role."""
    return seeded.people.person(Role.VIEWER)


async def read(seeded: SeededApi, person: Person, path: str, expected: int = 200, **query: Any) -> Any:
    return (await seeded.call("GET", path, person, expected, params=query)).json()


def placed(seeded: SeededApi, person: Person, code: str = "sim-l4-1-24g", **columns: Any) -> Instance:
    """An instance of this type in the zone where the type costs what its catalogue row says."""
    rows = seeded.rows
    kind = rows.one(InstanceType, code=code)
    linked = {link.zone_id for link in rows.all(InstanceTypeZone, instance_type_id=kind.id)}
    [zone] = [
        zone for zone in rows.all(Zone, provider_id=kind.provider_id) if zone.id in linked and zone.code == "local"
    ]
    model = rows.one(LlmModel, code="mock-echo-model")
    frozen: dict[str, Any] = {
        "zone_id": zone.id,
        "instance_type_id": kind.id,
        "model_id": model.id,
        "price_eur_per_hour": Decimal("0.75"),
    }
    return rows.machine(person.organization_id, **frozen | columns)


# -- One instance


async def test_every_field_of_the_contract_is_there(seeded: SeededApi, person: Person):
    row = placed(seeded, person, created_at=utc_now() - timedelta(hours=3))
    listed, found = (await read(seeded, person, "/instances"))[0], await read(seeded, person, f"/instances/{row.id}")
    searched = (await read(seeded, person, "/instances/search"))["rows"][0]
    assert CONTRACT_FIELDS - set(listed) == set()
    assert set(listed) == set(searched) == set(found) - {"storages"}
    assert {name: value for name, value in found.items() if name != "storages"} == listed == searched
    assert (found["provider_name"], found["region"], found["zone"], found["instance_type"]) == (
        "Simulated cloud", "Local", "Local", "Simulated L4 24 GB",
    )  # fmt: skip
    assert (found["cpu_count"], found["ram_gb"], found["gpu_vram"], found["gpu_count"]) == (8, 48, 24, 1)
    assert (found["model_name"], found["model_code"]) == ("Mock echo model", "mock-echo-model")
    assert found["ip_address"] == "127.0.0.1", "without the mask that the database may know"
    assert found["cost_per_hour"] == 0.75
    assert found["created_at"].endswith("Z")


async def test_what_holds_an_owner_is_a_code_and_a_moment(seeded: SeededApi, person: Person):
    since = datetime(2026, 1, 31, 10, tzinfo=UTC)
    row = placed(seeded, person, held_code=HoldCode.PROVIDER_AUTH, held_since=since)
    listed, found = (await read(seeded, person, "/instances"))[0], await read(seeded, person, f"/instances/{row.id}")
    assert listed["held"] == found["held"] == {"code": "PROVIDER_AUTH", "since": "2026-01-31T10:00:00Z"}
    seeded.rows.change(row, held_code=None, held_since=None)
    assert (await read(seeded, person, f"/instances/{row.id}"))["held"] is None


async def test_what_is_not_known_has_a_name_for_people(seeded: SeededApi, person: Person):
    row = seeded.rows.instance(person.organization_id, InstanceStatus.PROVISIONING_FAILED)
    found = await read(seeded, person, f"/instances/{row.id}")
    assert (found["region"], found["zone"], found["instance_type"]) == (
        "Unknown Region", "Unknown Zone", "Unknown Type",
    )  # fmt: skip
    assert (found["model_name"], found["gpu_count"], found["cost_per_hour"]) == (None, None, None)


async def test_volumes_are_shown_active_first_then_history_and_counted_while_they_exist(
    seeded: SeededApi, person: Person
):
    row, now = placed(seeded, person), utc_now()
    for name, size_gb, age_h, is_deleted in (("gone", 10, 9, True), ("data", 200, 2, False), ("boot", 20, 3, False)):
        seeded.rows.add(
            InstanceVolume(
                organization_id=row.organization_id, instance_id=row.id, provider_volume_id=f"v-{new_id()}", name=name,
                volume_type="b_ssd", size_gb=size_gb, is_boot=name == "boot",
                status=VolumeStatus.DELETED if is_deleted else VolumeStatus.ATTACHED,
                created_at=now - timedelta(hours=age_h), deleted_at=now if is_deleted else None,
            )
        )  # fmt: skip
    found = await read(seeded, person, f"/instances/{row.id}")
    assert [volume["name"] for volume in found["storages"]] == ["boot", "data", "gone"]
    assert all(set(volume) >= STORAGE_FIELDS for volume in found["storages"])
    assert (found["storage_count"], found["storage_sizes_gb"]) == (2, [20, 200])


async def test_the_total_cost_is_that_of_the_segments_whatever_the_price_is_now(seeded: SeededApi, person: Person):
    row, start = placed(seeded, person), utc_now() - timedelta(hours=10)
    for price, from_h, until_h in (("6", 0, 1), ("3", 1, 2)):
        seeded.rows.add(
            BillingSegment(
                organization_id=row.organization_id, instance_id=row.id, provider_resource_id="i-1",
                usage_kind=UsageKind.COMPUTE, price_eur_per_hour=Decimal(price), price_source=PriceSource.CATALOG,
                opened_at=start + timedelta(hours=from_h), closed_at=start + timedelta(hours=until_h),
            )
        )  # fmt: skip
    assert (await read(seeded, person, f"/instances/{row.id}"))["total_cost"] == 9.0


async def test_an_instance_that_was_never_billed_costs_nothing(seeded: SeededApi, person: Person):
    row = placed(seeded, person, created_at=utc_now() - timedelta(days=30))
    assert (await read(seeded, person, f"/instances/{row.id}"))["total_cost"] == 0.0


@pytest.mark.parametrize("status", list(InstanceStatus))
async def test_progress_is_100_only_in_ready_and_0_where_nothing_moves(
    seeded: SeededApi, person: Person, status: InstanceStatus
):
    row = seeded.rows.instance(person.organization_id, status)
    found = await read(seeded, person, f"/instances/{row.id}")
    assert found["status"] == status.value
    if status is InstanceStatus.READY:
        assert found["progress_percent"] == 100
    elif status in IDLE_STATES:
        assert found["progress_percent"] == 0
    else:
        assert 0 < found["progress_percent"] < 100


async def test_an_accepted_end_shows_at_once(seeded: SeededApi, person: Person):
    row = placed(seeded, person, status=InstanceStatus.READY, desired_status=DesiredStatus.TERMINATED)
    found = await read(seeded, person, f"/instances/{row.id}")
    assert (found["status"], found["progress_percent"]) == ("terminating", 0)


@pytest.mark.parametrize("suffix", ["", "/metrics"])
async def test_unknown_ids_are_404_and_what_is_no_id_is_422(seeded: SeededApi, person: Person, suffix: str):
    assert (await read(seeded, person, f"/instances/{new_id()}{suffix}", 404))["code"] == "INSTANCE_NOT_FOUND"
    assert (await read(seeded, person, f"/instances/i-123{suffix}", 422))["code"] == "INVALID_REQUEST"


# -- Lists and searches


async def test_the_list_is_newest_first_and_keeps_archived_ones_apart(seeded: SeededApi, person: Person):
    now = utc_now()
    made = [placed(seeded, person, created_at=now - timedelta(minutes=age)) for age in (5, 1, 3)]
    archived = seeded.rows.instance(person.organization_id, InstanceStatus.ARCHIVED)
    by_age = [str(made[index].id) for index in (1, 2, 0)]
    queries: tuple[dict[str, Any], ...] = ({}, {"archived": "false"})
    for query in queries:
        assert [row["id"] for row in await read(seeded, person, "/instances", **query)] == by_age
    assert [row["id"] for row in await read(seeded, person, "/instances", archived="true")] == [str(archived.id)]


async def test_a_search_tells_its_window_and_both_counts(seeded: SeededApi, person: Person):
    for status in (InstanceStatus.READY, InstanceStatus.READY, InstanceStatus.FAILED, InstanceStatus.ARCHIVED):
        seeded.rows.instance(person.organization_id, status)
    found = await read(seeded, person, "/instances/search", limit=2)
    assert set(found) == {"offset", "limit", "total_count", "filtered_count", "rows"}
    assert (found["offset"], found["limit"], found["total_count"], found["filtered_count"]) == (0, 2, 4, 3)
    assert len(found["rows"]) == 2
    ready = await read(seeded, person, "/instances/search", status="ready")
    assert (ready["total_count"], ready["filtered_count"], len(ready["rows"])) == (4, 2, 2)
    archived = await read(seeded, person, "/instances/search", archived="true")
    assert (archived["total_count"], archived["filtered_count"]) == (4, 1)
    beyond = await read(seeded, person, "/instances/search", offset=1000)
    assert (beyond["rows"], beyond["filtered_count"]) == ([], 3)


@pytest.mark.parametrize(
    ("asked", "given"), [(0, 1), (-5, 1), (1, 1), (500, 500), (501, 500), (9999, 500), (10**30, 500)]
)
async def test_a_limit_outside_is_moved_inside(seeded: SeededApi, person: Person, asked: int, given: int):
    assert (await read(seeded, person, "/instances/search", limit=asked))["limit"] == given


async def test_without_a_limit_it_is_200(seeded: SeededApi, person: Person):
    assert (await read(seeded, person, "/instances/search"))["limit"] == 200


async def test_windows_meet_without_gap_or_repeat(seeded: SeededApi, person: Person):
    same_moment = utc_now()
    made = {str(placed(seeded, person, created_at=same_moment).id) for _ in range(7)}
    seen: list[str] = []
    for offset in range(0, 8, 2):
        page = await read(seeded, person, "/instances/search", offset=offset, limit=2, sort_by="status")
        seen += [row["id"] for row in page["rows"]]
    assert len(seen) == 7
    assert set(seen) == made


SORTED_BY = {
    "created_at": "created_at", "status": "status", "provider": "provider_name", "region": "region", "zone": "zone",
    "type": "instance_type", "cost_per_hour": "cost_per_hour", "total_cost": "total_cost",
}  # fmt: skip


@pytest.mark.parametrize("key", SORTED_BY)
@pytest.mark.parametrize("direction", ["asc", "desc", None])
async def test_every_sort_key_sorts(seeded: SeededApi, person: Person, key: str, direction: str | None):
    rows, now = seeded.rows, utc_now()
    first = placed(seeded, person, created_at=now - timedelta(minutes=1), price_eur_per_hour=Decimal(2))
    local_zone = rows.one(Zone, provider_id=rows.one(Provider, code="local").id)
    local = rows.instance(
        person.organization_id, InstanceStatus.FAILED, provider="local", zone_id=local_zone.id, created_at=now,
        instance_type_id=rows.one(InstanceType, code="local-cpu-small").id, price_eur_per_hour=Decimal(1),
    )  # fmt: skip
    assert rows.one(Region, id=local_zone.region_id).name == "This machine"
    rows.add(
        BillingSegment(
            organization_id=person.organization_id, instance_id=local.id, provider_resource_id="p",
            usage_kind=UsageKind.COMPUTE, price_eur_per_hour=Decimal(1), price_source=PriceSource.CATALOG,
            opened_at=now - timedelta(hours=5), closed_at=now,
        )
    )  # fmt: skip
    query: dict[str, Any] = {"sort_by": key} | ({} if direction is None else {"sort_dir": direction})
    page = (await read(seeded, person, "/instances/search", **query))["rows"]
    values = [row[SORTED_BY[key]] for row in page]
    assert {row["id"] for row in page} == {str(first.id), str(local.id)}
    assert values[0] != values[1], "this test sorts nothing"
    assert values == sorted(values, reverse=direction != "asc"), "descending is the default"


@pytest.mark.parametrize(
    "key", ["", "nonsense", "id; DROP TABLE instances", "organization_id", "CREATED_AT", "i.status"]
)
async def test_an_unknown_sort_key_is_the_default(seeded: SeededApi, person: Person, key: str):
    now = utc_now()
    made = [str(placed(seeded, person, created_at=now - timedelta(minutes=age)).id) for age in (1, 2, 3)]
    page = await read(seeded, person, "/instances/search", sort_by=key)
    assert [row["id"] for row in page["rows"]] == made


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/instances/search", {"colour": "red"}, "UNKNOWN_FILTER"),
        ("/instances/search", {"Archived": "true"}, "UNKNOWN_FILTER"),
        ("/instances", {"limit": "5"}, "UNKNOWN_FILTER"),
        ("/instances", {"organization_id": "0198c0de-0000-7000-8000-000000000000"}, "UNKNOWN_FILTER"),
        ("/instances/search", {"status": "happy"}, "INVALID_REQUEST"),
        ("/instances/search", {"archived": "perhaps"}, "INVALID_REQUEST"),
        ("/instances/search", {"offset": "-1"}, "INVALID_REQUEST"),
        ("/instances/search", {"offset": "9" * 40}, "INVALID_REQUEST"),
        ("/instances/search", {"limit": "many"}, "INVALID_REQUEST"),
    ],
)
async def test_what_cannot_be_asked_is_422_and_says_what_can(
    seeded: SeededApi, person: Person, path: str, query: dict[str, str], code: str
):
    answer = await read(seeded, person, path, 422, **query)
    assert answer["code"] == code
    [name] = query
    assert name in answer["detail"]
    if code == "UNKNOWN_FILTER":
        assert "archived" in answer["detail"], "the message lists what there is"
