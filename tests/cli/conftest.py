"""The scripted API and the command that talks to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command_line import CommandLine
from tests.cli.scripted_api import API_KEY, ScriptedApi


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    served = ScriptedApi()
    yield served
    served.close()


@pytest.fixture
def quarterdeck(api: ScriptedApi, tmp_path: Path) -> Iterator[CommandLine]:
    command = CommandLine(tmp_path, {"QUARTERDECK_API_URL": api.url, "QUARTERDECK_API_KEY": API_KEY})
    yield command
    command.close()
