"""The catalogue as members read it: the seeds of the contract, searches that never fail, shapes that never lose a field."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from models.base.ids import new_id
from models.domain.identity.roles import Role
from models.repositories.database import Database
from models.repositories.fleet.seeding import Host, seed
from tests.api.conftest import People, Person, RunningApi
from tests.servers import TestDatabase


class Reader:
    """A member who reads."""

    def __init__(self, api: RunningApi, person: Person) -> None:
        self._client, self._person = api.client, person

    async def get(self, path: str, expected: int = 200, **query: Any) -> Any:
        response = await self._client.get(path, params=query, headers=self._person.bearer)
        assert response.status_code == expected, response.text
        return response.json()

    async def by_code(self, path: str) -> dict[str, dict[str, Any]]:
        """Rows by provider and code."""
        return {f"{row.get('provider_code', '')}/{row['code']}": row for row in await self.get(path)}


@pytest.fixture
async def seeded(database: TestDatabase) -> AsyncIterator[None]:
    owner = Database(database.owner, pool_size=1)
    async with owner.system() as session:
        await seed(session, Host("host-1", memory_gb=20))
    yield
    await owner.close()


@pytest.fixture
async def reader(seeded: None, people: People, api: RunningApi) -> Reader:
    person = people.person(Role.VIEWER)
    await api.state.identities.catch_up()
    return Reader(api, person)


async def test_providers(reader: Reader) -> None:
    rows = {row["code"]: row for row in await reader.get("/providers")}
    assert {code: (row["is_active"], row["has_adapter"]) for code, row in rows.items()} == {
        "local": (True, True),
        "mock": (True, True),
        "aws": (False, True),
        "ovh": (False, True),
        "scaleway": (False, False),
    }
    assert {"id", "name", "code", "description", "is_active"} <= set(rows["local"])
    names = [row["name"] for row in await reader.get("/providers")]
    assert len(names) == 5


async def test_regions_and_zones_name_what_they_belong_to(reader: Reader) -> None:
    regions, zones = await reader.by_code("/regions"), await reader.by_code("/zones")
    assert {key for key, row in regions.items() if not row["is_active"]} == {"scaleway/pl-waw"}
    assert set(zones) == {
        "local/host-1", "mock/local", "mock/sim-b", "scaleway/fr-par-1", "scaleway/fr-par-2", "scaleway/nl-ams-1",
    }  # fmt: skip
    zone = zones["scaleway/nl-ams-1"]
    assert (zone["name"], zone["region_code"], zone["region_name"]) == ("Amsterdam 1", "nl-ams", "Amsterdam")
    assert zone["region_id"] == regions["scaleway/nl-ams"]["id"]
    assert zone["provider_id"] == regions["scaleway/nl-ams"]["provider_id"]


async def test_types_have_the_prices_of_the_contract(reader: Reader) -> None:
    types = await reader.by_code("/instance_types")
    h100 = types["scaleway/H100-2-80G"]
    shape = (
        "gpu_count",
        "vram_per_gpu_gb",
        "cpu_count",
        "ram_gb",
        "bandwidth_bps",
        "cost_per_hour",
        "price_eur_per_hour",
    )
    assert [h100[name] for name in shape] == [2, 80, 48, 480, 20_000_000_000, 5.46, 5.46]
    assert types["scaleway/L40S-8-48G"]["cost_per_hour"] == 11.1994
    assert types["mock/mock-local-instance"]["cost_per_hour"] == 0
    assert types["mock/sim-h100-1-80g"]["cost_per_hour"] == 2.73
    assert types["local/local-cpu-small"]["cost_per_hour"] is None
    assert len([key for key in types if key.startswith("scaleway/")]) == 15
    assert (types["scaleway/RENDER-S"]["billing_increment_s"], h100["billing_increment_s"]) == (3600, 60)


async def test_where_a_type_is_offered(reader: Reader) -> None:
    types, zones = await reader.by_code("/instance_types"), await reader.by_code("/zones")
    offered = await reader.get(f"/instance_types/{types['mock/sim-l4-1-24g']['id']}/zones")
    assert [(row["zone_code"], row["is_available"], row["price_eur_per_hour"]) for row in offered] == [
        ("local", True, 0.75),
        ("sim-b", True, 0.79),
    ]
    assert {"instance_type_id", "zone_id", "zone_name"} <= set(offered[0])
    for key, row in types.items():
        if key.startswith("scaleway/"):
            assert [zone["zone_code"] for zone in await reader.get(f"/instance_types/{row['id']}/zones")] == [
                "fr-par-2"
            ]
    in_b = await reader.get(f"/zones/{zones['mock/sim-b']['id']}/instance_types")
    assert {row["code"]: row["cost_per_hour"] for row in in_b} == {
        "mock-local-instance": 0, "sim-l4-1-24g": 0.79, "sim-h100-1-80g": 2.95,
    }  # fmt: skip
    here = await reader.get(f"/zones/{zones['local/host-1']['id']}/instance_types")
    assert [row["code"] for row in here] == [
        "local-cpu-large",
        "local-cpu-medium",
        "local-cpu-small",
    ]  # 20 GB of memory
    zone = f"/zones/{zones['mock/sim-b']['id']}/instance_types"
    assert await reader.get(zone, provider_code="local") == []
    assert len(await reader.get(zone, provider_code="mock")) == 3
    assert await reader.get(zone, provider_id=str(new_id())) == []


async def test_what_is_withdrawn_is_not_offered(reader: Reader, people: People) -> None:
    zones = await reader.by_code("/zones")
    path = f"/zones/{zones['mock/sim-b']['id']}/instance_types"
    people.execute("UPDATE instance_types SET is_active = false WHERE code = 'sim-l4-1-24g'")
    people.execute(
        "UPDATE instance_type_zones SET is_available = false FROM instance_types t "
        "WHERE t.id = instance_type_id AND t.code = 'sim-h100-1-80g'"
    )
    assert [row["code"] for row in await reader.get(path)] == ["mock-local-instance"]


async def test_models(reader: Reader) -> None:
    models = {row["code"]: row for row in await reader.get("/models")}
    assert len(models) == 18
    smol = models["smollm2-135m-instruct"]
    assert (smol["model_id"], smol["required_vram_gb"], smol["context_length"], smol["is_active"]) == (
        "HuggingFaceTB/SmolLM2-135M-Instruct", 1, 2048, True,
    )  # fmt: skip
    assert {"id", "name", "data_volume_gb", "created_at", "updated_at"} <= set(smol)
    assert smol["created_at"].endswith("Z")
    assert models["mock-echo-model"]["model_id"] == "mock-echo-model"
    assert models["llama-3.1-70b-instruct"]["required_vram_gb"] == 160


async def test_models_are_sorted_by_known_keys_only(reader: Reader, people: People) -> None:
    memory = [
        row["required_vram_gb"] for row in await reader.get("/models", order_by="required_vram_gb", order_dir="desc")
    ]
    assert memory == sorted(memory, reverse=True)
    by_name = [row["name"] for row in await reader.get("/models")]
    assert [row["name"] for row in await reader.get("/models", order_by="id; DROP TABLE models")] == by_name
    people.execute("UPDATE models SET is_active = false WHERE code = 'gemma-2-9b-it'")
    assert len(await reader.get("/models", active="true")) == 17
    assert len(await reader.get("/models", active="false")) == 18


async def test_a_model_is_read_by_id_or_code(reader: Reader) -> None:
    smol = await reader.get("/models/smollm2-135m-instruct")
    assert await reader.get(f"/models/{smol['id']}") == smol
    assert await reader.get(f"/models/{smol['id'].upper()}") == smol
    assert (await reader.get(f"/models/{new_id()}", 404))["code"] == "MODEL_NOT_FOUND"
    for malformed in ("not-a-uuid", "123", "%27%20OR%201=1", "\N{PILE OF POO}"):
        assert (await reader.get(f"/models/{malformed}", 400))["code"] == "INVALID_ID"
    await reader.get("/models/a%00b", 422)
    await reader.get(f"/models/{'x' * 201}", 422)


async def test_models_for_a_type_follow_the_rule_of_the_contract(reader: Reader) -> None:
    types = await reader.by_code("/instance_types")

    async def codes(key: str) -> list[str]:
        return [row["code"] for row in await reader.get(f"/instance_types/{types[key]['id']}/models")]

    assert await codes("mock/mock-local-instance") == ["mock-echo-model"]
    assert await codes("mock/sim-h100-1-80g") == ["mock-echo-model"]
    assert await codes("local/local-cpu-small") == ["smollm2-135m-instruct"]
    on_l4 = await codes("scaleway/L4-4-24G")
    assert "mixtral-8x22b-instruct-v0.1" in on_l4  # 96 GB on 96 GB: equal is enough
    assert "llama-3.1-70b-instruct" not in on_l4
    assert "llama-3.1-70b-instruct" in await codes("scaleway/H100-2-80G")
    assert "mock-echo-model" not in on_l4


@pytest.mark.parametrize("path", ["/providers", "/regions", "/zones", "/instance_types"])
async def test_searches(reader: Reader, path: str) -> None:
    everything = await reader.get(path)
    page = await reader.get(f"{path}/search")
    assert page["rows"] == everything
    assert (page["offset"], page["limit"]) == (0, 200)
    assert page["total_count"] == page["filtered_count"] == len(everything)

    walked = []
    for offset in range(0, len(everything), 2):
        walked += (await reader.get(f"{path}/search", offset=offset, limit=2))["rows"]
    assert walked == everything
    assert (await reader.get(f"{path}/search", offset=10_000))["rows"] == []
    for asked, used in ((0, 1), (-5, 1), (9999, 500)):
        assert (await reader.get(f"{path}/search", limit=asked))["limit"] == used
    backwards = (await reader.get(f"{path}/search", order_dir="desc"))["rows"]
    assert {row["id"] for row in backwards} == {row["id"] for row in everything}
    assert [row["name"] for row in backwards] == [row["name"] for row in reversed(everything)]
    for key in ("name", "code", "is_active", "provider_name", "no such key", "' --"):
        assert len((await reader.get(f"{path}/search", order_by=key))["rows"]) == len(everything)

    active = await reader.get(f"{path}/search", is_active="true")
    assert all(row["is_active"] for row in active["rows"])
    assert active["total_count"] == len(everything)
    assert active["filtered_count"] == len(active["rows"])

    await reader.get(f"{path}/search", 422, offset=-1)
    await reader.get(f"{path}/search", 422, limit="many")
    await reader.get(f"{path}/search", 422, is_active="perhaps")
    await reader.get(f"{path}/search", 422, colour="blue")
    await reader.get(f"{path}/search", 422, q="a\0b")


async def test_text_search_takes_every_character_as_itself(reader: Reader) -> None:
    async def codes(q: str) -> list[str]:
        return [row["code"] for row in (await reader.get("/instance_types/search", q=q, limit=500))["rows"]]

    assert await codes("h100-sxm") == ["H100-SXM-2-80G", "H100-SXM-4-80G", "H100-SXM-8-80G"]
    assert await codes("%") == await codes("_") == await codes("\\") == await codes("' OR true --") == []
    assert len(await codes("")) == len(await codes("g"[:0]))


async def test_searches_narrow_to_a_provider_and_a_region(reader: Reader) -> None:
    zone = (await reader.by_code("/zones"))["mock/local"]
    found = await reader.get("/zones/search", provider_id=zone["provider_id"], region_id=zone["region_id"])
    assert [row["code"] for row in found["rows"]] == ["local", "sim-b"]
    assert (found["total_count"], found["filtered_count"]) == (6, 2)
    assert (await reader.get("/instance_types/search", provider_id=zone["provider_id"]))["filtered_count"] == 4
    prices = [
        row["cost_per_hour"]
        for row in (await reader.get("/instance_types/search", order_by="cost_per_hour", order_dir="desc"))["rows"]
    ]
    assert prices[:2] == [60.0, 23.028]
    assert prices[-4:] == [None] * 4  # without a price: last in either direction
    await reader.get("/regions/search", 422, region_id=str(new_id()))
    await reader.get("/regions/search", 422, provider_id="nobody")


async def test_unknown_parents_are_404(reader: Reader) -> None:
    for path in (
        f"/instance_types/{new_id()}/zones",
        f"/instance_types/{new_id()}/models",
        f"/zones/{new_id()}/instance_types",
    ):
        await reader.get(path, 404)
    await reader.get("/instance_types/x/zones", 422)


async def test_the_catalogue_is_not_public(reader: Reader, api: RunningApi) -> None:
    for path in ("/models", "/providers", "/zones/search", "/action_types", "/action_logs"):
        assert (await api.client.get(path)).status_code == 401


async def test_a_key_without_the_scope_is_refused(seeded: None, people: People, api: RunningApi) -> None:
    person = people.person(scopes=["inference:call"])
    await api.state.identities.catch_up()
    for path in ("/models", "/providers", "/action_logs"):
        assert (await api.client.get(path, headers=person.bearer)).status_code == 403
