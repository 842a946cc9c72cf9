"""`quarterdeck status` names machines that belong to nobody, and does not call such a stack well."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.domain.fleet.instances.unowned import UnownedReason
from models.settings import Settings
from workers.embedded import status
from workers.embedded.errors import StartError
from workers.embedded.fleet.unowned import Machines, Unowned

MADE = datetime(2026, 11, 26, 12, tzinfo=UTC)
LOST = Unowned(
    "cloud-mock", "sim-1", UnownedReason.NO_ROW, "local", "sim-l4-1-24g", "m", None, "0.750000", MADE, MADE, None
)  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a stack that runs and whose one part is well."""
    part: dict[str, object] = {
        "name": "api", "state": "ready", "health": "ok", "stuck_messages": None, "reasons": [], "alarms": {},
    }  # fmt: skip
    missing = dict.fromkeys(("pid", "uptime_s", "restarts", "port", "url"))
    monkeypatch.setattr(status, "is_locked", lambda _home: True)
    monkeypatch.setattr(status, "recorded_parts", lambda _home: [{}])
    monkeypatch.setattr(status, "_look_at", lambda _part: part | missing)
    return Settings(home=tmp_path)


def test_each_is_named_with_what_to_do(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "look", lambda _settings: Machines([LOST], []))
    assert status.status(settings, as_json=False) == status.NOT_RUNNING
    told = capsys.readouterr().out
    assert "Machine sim-1 belongs to nobody, at cloud-mock (local, sim-l4-1-24g) since 2026-11-26 12:00 UTC" in told
    assert "`quarterdeck machines end sim-1` ends it" in told
    assert status.status(settings, as_json=True) == status.NOT_RUNNING
    assert json.loads(capsys.readouterr().out)["unowned_machines"] == ["sim-1"]


def test_without_one_all_is_well(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "look", lambda _settings: Machines([], []))
    assert status.status(settings, as_json=True) == status.RUNNING
    assert json.loads(capsys.readouterr().out)["unowned_machines"] == []


def test_a_database_that_cannot_be_asked_is_another_parts_business(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_settings: Settings) -> Machines:
        raise StartError("the database cannot be asked")

    monkeypatch.setattr(status, "look", away)
    assert status.status(settings, as_json=True) == status.RUNNING
