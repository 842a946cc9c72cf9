"""Action logs: what an organization may see of what was done, in every order and window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from models.base.ids import new_id
from models.domain.identity.roles import Role
from models.repositories.action_logs import SORTS
from tests.api.conftest import People, Person, RunningApi

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Logs:
    def __init__(self, api: RunningApi, people: People, person: Person) -> None:
        self._api, self._people, self._person = api, people, person
        self.provider_id = new_id()
        people.execute(
            "INSERT INTO providers (id, code, name, is_active, has_adapter) VALUES (%s, 'mock', 'Mock', true, true)",
            self.provider_id,
        )

    def instance(self, organization_id: UUID | None = None) -> UUID:
        instance_id = new_id()
        self._people.execute(
            "INSERT INTO instances (id, organization_id, provider_id, status, desired_status, version, generation, boot_count, "
            "completed_steps, provider_code, price_source, billing_increment_s, billing_minimum_s, on_unavailable, "
            "is_archived, deleted_by_provider, heal_attempts) VALUES (%s, %s, %s, 'ready', 'ready', 0, 1, 1, '[]', 'mock', "
            "'catalog', 1, 0, 'restart_agent', false, false, 0)",
            instance_id, organization_id or self._person.organization_id, self.provider_id,
        )  # fmt: skip
        return instance_id

    def add(
        self,
        number: int,
        *,
        action_type: str = "HEALTH_CHECK",
        component: str = "orchestrator",
        status: str = "success",
        instance_id: UUID | None = None,
        duration_ms: int | None = None,
        organization_id: UUID | None = None,
    ) -> str:
        log_id = new_id()
        self._people.execute(
            "INSERT INTO action_logs (id, organization_id, action_type, component, status, instance_id, duration_ms, details, "
            "created_at, instance_status_before) VALUES (%s, %s, %s, %s, %s, %s, %s, '{\"zone\": \"z\"}', %s, 'booting')",
            log_id, organization_id or self._person.organization_id, action_type, component, status, instance_id,
            duration_ms, NOON + timedelta(seconds=number),
        )  # fmt: skip
        return str(log_id)

    async def get(self, path: str, expected: int = 200, **query: Any) -> Any:
        response = await self._api.client.get(path, params=query, headers=self._person.bearer)
        assert response.status_code == expected, response.text
        return response.json()

    async def ids(self, **query: Any) -> list[str]:
        return [row["id"] for row in (await self.get("/action_logs/search", **query))["rows"]]


@pytest.fixture
async def logs(api: RunningApi, people: People) -> Logs:
    person = people.person(Role.VIEWER)
    await api.state.identities.catch_up()
    return Logs(api, people, person)


async def test_the_list_is_newest_first_and_bounded(logs: Logs) -> None:
    instance_id = logs.instance()
    ids = [logs.add(number, instance_id=instance_id, duration_ms=number) for number in range(120)]
    rows = await logs.get("/action_logs")
    assert [row["id"] for row in rows] == ids[:19:-1]
    assert rows[0] == rows[0] | {
        "action_type": "HEALTH_CHECK", "component": "orchestrator", "status": "success", "error_message": None,
        "instance_id": str(instance_id), "duration_ms": 119, "created_at": "2026-01-01T12:01:59Z",
        "metadata": {"zone": "z"}, "instance_status_before": "booting", "instance_status_after": None,
        "provider_name": "Mock", "instance_type": None, "error_code": None, "completed_at": None,
    }  # fmt: skip
    assert len(await logs.get("/action_logs", limit=5)) == 5
    assert len(await logs.get("/action_logs", limit=0)) == 1
    assert len(await logs.get("/action_logs", limit=100_000)) == 120


async def test_filters(logs: Logs) -> None:
    instance_id = logs.instance()
    mine = logs.add(1, instance_id=instance_id)
    by_api = logs.add(2, component="api", status="failed")
    created = logs.add(3, action_type="REQUEST_CREATE", status="in_progress")
    assert await logs.ids(instance_id=str(instance_id)) == [mine]
    assert await logs.ids(resource_id=str(instance_id)) == [mine], "an instance is a resource"
    assert await logs.ids(resource_id=str(new_id())) == []
    assert await logs.ids(component="api") == await logs.ids(component="backend") == [by_api]
    assert await logs.ids(status="in_progress") == await logs.ids(action_type="REQUEST_CREATE") == [created]
    assert await logs.ids(status="success", component="api") == []
    assert [row["id"] for row in await logs.get("/action_logs", status="failed")] == [by_api]
    for path in ("/action_logs", "/action_logs/search"):
        await logs.get(path, 422, component="robot")
        await logs.get(path, 422, status="retry")
        await logs.get(path, 422, instance_id="x")
        await logs.get(path, 422, action_type="a\0")
        await logs.get(path, 422, colour="blue")
    await logs.get("/action_logs/search", 422, offset=-1)
    assert len(await logs.get("/action_logs", limit="9" * 400)) == 3


async def test_windows_walk_every_row_once_in_every_order(logs: Logs) -> None:
    instances = [logs.instance(), logs.instance(), None]
    ids = {
        logs.add(
            number % 3,  # ties
            component="api" if number % 2 else "orchestrator",
            status=("success", "failed", "in_progress")[number % 3],
            instance_id=instances[number % 3],
            duration_ms=None if number % 4 == 0 else number % 3,
        )
        for number in range(20)
    }
    for key in (*SORTS, "unknown"):
        for direction in ("asc", "desc", "sideways"):
            walked = [
                row
                for offset in range(0, 20, 7)
                for row in await logs.ids(sort_by=key, sort_dir=direction, offset=offset, limit=7)
            ]
            assert len(walked) == 20, key
            assert set(walked) == ids, key
    for direction in ("asc", "desc"):
        rows = (await logs.get("/action_logs/search", sort_by="duration_ms", sort_dir=direction))["rows"]
        durations = [row["duration_ms"] for row in rows]
        assert durations[-5:] == [None] * 5
        assert durations[:15] == sorted(durations[:15], reverse=direction == "desc")


async def test_counts(logs: Logs) -> None:
    for number, status in enumerate(["success", "success", "failed", "in_progress"]):
        logs.add(number, status=status, component="api" if number else "orchestrator")
    page = await logs.get("/action_logs/search", component="api", limit=1, include_stats="true")
    assert (page["total_count"], page["filtered_count"], len(page["rows"])) == (4, 3, 1)
    assert page["status_counts"] == {"success": 1, "failed": 1, "in_progress": 1}
    assert (await logs.get("/action_logs/search"))["status_counts"] is None


async def test_another_organizations_logs_do_not_exist(logs: Logs, people: People) -> None:
    other = people.organization()
    foreign = logs.instance(other)
    logs.add(1, organization_id=other, instance_id=foreign)
    assert await logs.get("/action_logs") == []
    page = await logs.get("/action_logs/search", include_stats="true")
    assert (page["total_count"], page["rows"]) == (0, [])
    assert page["status_counts"] == {"success": 0, "failed": 0, "in_progress": 0}
    assert await logs.ids(instance_id=str(foreign)) == []


async def test_action_types_are_ordered_and_the_inactive_hidden(logs: Logs, people: People) -> None:
    for code, category, active in (("B", "create", True), ("A", "create", True), ("Z", None, True), ("C", "archive", True),
                                   ("D", "archive", False)):  # fmt: skip
        people.execute(
            "INSERT INTO action_types (code, label, category, is_active) VALUES (%s, 'L', %s, %s)",
            code,
            category,
            active,
        )
    rows = await logs.get("/action_types")
    assert [row["code"] for row in rows] == ["C", "A", "B", "Z"]
    assert set(rows[0]) == {"code", "label", "icon", "color_class", "category", "is_active"}


async def test_metrics_of_an_instance(logs: Logs, people: People) -> None:
    instance_id = logs.instance()
    empty = await logs.get(f"/instances/{instance_id}/metrics")
    assert empty == {
        "instance_id": str(instance_id), "total_requests": 0, "successful_requests": 0, "failed_requests": 0,
        "cancelled_requests": 0, "total_input_tokens": 0, "total_output_tokens": 0, "total_tokens": 0,
        "first_request_at": None, "last_request_at": None,
    }  # fmt: skip
    for number, outcome in enumerate(["succeeded", "succeeded", "failed", "cancelled", "interrupted"]):
        people.execute(
            "INSERT INTO inference_requests (id, request_id, organization_id, user_id, model, instance_id, endpoint, is_stream, "
            "outcome, input_tokens, output_tokens, usage_source, started_at, completed_at) "
            "SELECT %s, gen_random_uuid(), organization_id, user_id, 'm', %s, '/v1/completions', false, %s, 10, %s, "
            "'reported', %s, now() FROM memberships LIMIT 1",
            new_id(), instance_id, outcome, number, NOON + timedelta(seconds=number),
        )  # fmt: skip
    assert await logs.get(f"/instances/{instance_id}/metrics") == empty | {
        "total_requests": 5, "successful_requests": 2, "failed_requests": 2, "cancelled_requests": 1,
        "total_input_tokens": 50, "total_output_tokens": 10, "total_tokens": 60,
        "first_request_at": "2026-01-01T12:00:00Z", "last_request_at": "2026-01-01T12:00:04Z",
    }  # fmt: skip
    await logs.get(f"/instances/{logs.instance(people.organization())}/metrics", 404)
    await logs.get(f"/instances/{new_id()}/metrics", 404)
    await logs.get("/instances/x/metrics", 422)
