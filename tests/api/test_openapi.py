"""The document says everything that can be answered, under names that do not change."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.domain.sentences import ERRORS
from tests.api.conftest import RunningApi
from tests.factories.seeded import SeededApi

NAMES = Path(__file__).parent / "operation_ids.txt"
SWAGGER_UI = {
    "swagger-ui-bundle.js": "93b7b0862a80e2786f85b560be7693c2344354ffa7e7e224f850a54349724c31",
    "swagger-ui.css": "9e576f8322132c76949da47f9bb53c891373c303ea3a761ff548ffc9de50a98c",
    "favicon-32x32.png": "3ed612f41e050ca5e7000cad6f1cbe7e7da39f65fca99c02e99e6591056e5837",
}
"""sha256 of these files in the npm package swagger-ui-dist 5.31.0: what another publisher's wheel must not change."""

OWN_ERROR_BODIES = {("/deployments", "400")}
"""Contract decision 10: the keys of a problem, plus `status: "failed"` and `instance_id`."""

OPEN = {
    "get /", "get /health", "get /version", "get /api-docs/openapi.json", "post /auth/login", "post /auth/logout",
    "options /internal/codec/decode",
}  # fmt: skip
OWN_CREDENTIALS = {"post /internal/worker/register", "post /internal/worker/heartbeat", "post /internal/codec/decode"}
"""Judged by a dependency of their own: a agent token, or a superadmin by any credential."""


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


@pytest.fixture(scope="module")
async def document(seeded: SeededApi) -> dict[str, Any]:
    response = await seeded.api.client.get("/api-docs/openapi.json")
    assert response.headers["content-type"] == "application/json"
    body: dict[str, Any] = response.json()
    return body


async def test_it_is_openapi_3_1_without_the_frameworks_own_errors(document: dict[str, Any]):
    assert document["openapi"].startswith("3.1")
    assert "HTTPValidationError" not in json.dumps(document)
    assert {"Problem", "OpenAIError"} <= set(document["components"]["schemas"])


async def test_every_reference_leads_somewhere(document: dict[str, Any]):
    known = set(document["components"]["schemas"])
    used = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert used <= known


async def test_operation_ids_are_unique_and_summaries_are_there(document: dict[str, Any]):
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    assert [path for _, path, operation in operations(document) if not operation.get("summary")] == []


async def test_the_operation_ids_that_clients_were_generated_from_stay(document: dict[str, Any]):
    """A new one is added to operation_ids.txt; changing or removing one breaks generated clients."""
    lines = NAMES.read_text().splitlines()
    found = {f"{operation['operationId']} {method.upper()} {path}" for method, path, operation in operations(document)}
    assert set(lines) - found == set(), "these operation ids are gone or lead elsewhere"
    assert found - set(lines) == set(), "add these to tests/api/operation_ids.txt"


async def test_errors_are_documented_where_they_can_happen(document: dict[str, Any]):
    for method, path, operation in operations(document):
        statuses = set(operation["responses"])
        assert {"413", "422"} <= statuses, path
        if "security" in operation:
            assert {"401", "403", "503"} <= statuses, path
        if "requestBody" in operation:
            assert {"400", "415"} <= statuses or path == "/internal/codec/decode", path
        if "{" in path and not path.startswith("/v1"):
            assert "404" in statuses or method == "get", path
        for status, response in operation["responses"].items():
            if status.startswith(("4", "5")) and not path.startswith("/v1") and (path, status) not in OWN_ERROR_BODIES:
                assert list(response["content"]) == ["application/problem+json"], (path, status)


async def test_every_code_is_there_with_its_family_and_its_sentences(document: dict[str, Any]):
    said = document["components"]["schemas"]["Problem"]["properties"]["code"]["x-sentences"]
    assert said.keys() == ERRORS.keys()
    assert said["INSTANCE_NOT_FOUND"] == {
        "family": "fleet", "en": "there is no such instance", "fr": "cette instance n'existe pas",
    }  # fmt: skip


async def test_only_the_open_routes_need_no_credentials(document: dict[str, Any]):
    unguarded = {f"{method} {path}" for method, path, operation in operations(document) if "security" not in operation}
    assert unguarded - OPEN - OWN_CREDENTIALS == set()


async def test_the_credentials_are_alternatives_and_the_cookie_has_its_name(document: dict[str, Any]):
    schemes = document["components"]["securitySchemes"]
    assert schemes["sessionCookie"]["name"] == "quarterdeck_session"
    assert document["paths"]["/auth/me"]["get"]["security"] == [{"sessionCookie": []}, {"apiKey": []}, {"bearer": []}]


async def test_the_documentation_page_needs_nobody_else(seeded: SeededApi):
    api = seeded.api
    page = await api.client.get("/swagger-ui/")
    assert page.headers["content-type"].startswith("text/html")
    assert "http" not in page.text
    for path in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        part = await api.client.get(path)
        assert part.status_code == 200, path
        assert "default-src 'none'" in part.headers["content-security-policy"]
    assert (await api.client.get("/swagger-ui/start.js")).text.count("/api-docs/openapi.json") == 1
    assert (await api.client.get("/swagger-ui/index.html")).status_code == 404


@pytest.mark.parametrize(("name", "sha256"), SWAGGER_UI.items())
async def test_its_parts_are_those_of_swagger_ui_itself(seeded: SeededApi, name: str, sha256: str):
    api = seeded.api
    part = await api.client.get(f"/swagger-ui/{name}")
    assert hashlib.sha256(part.content).hexdigest() == sha256


async def test_banner_health_and_version(api: RunningApi):
    banner = await api.client.get("/")
    assert banner.headers["content-type"].startswith("text/plain")
    assert "Quarterdeck" in banner.text
    health = (await api.client.get("/health")).json()
    assert (health["status"], health["database"]) == ("healthy", "connected")
    assert health["brains"] == {"active": 0, "total": 0, "max": 100}
    assert set((await api.client.get("/version")).json()) == {"backend_version", "build_time"}
