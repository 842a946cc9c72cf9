"""The reference names everything there is: routes, flags, faults, knobs, errors."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from simcloud import __main__ as command
from simcloud import errors
from simcloud.catalogue import TYPES, ZONES
from simcloud.faults import KINDS, SETTINGS, Kind, RequestClass
from simcloud.fleet import Traits

PAGE = (Path(__file__).parents[2] / "docs" / "simulated-cloud.md").read_text(encoding="utf-8")
SOURCES = "".join(path.read_text(encoding="utf-8") for path in Path(command.__file__).parent.glob("*.py"))
ROUTES = re.findall(r'web\.(get|post|put|delete)\("([^"]+)"', SOURCES)


def test_there_are_routes_to_check() -> None:
    assert len(ROUTES) > 25


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_is_described(method: str, path: str) -> None:
    lines = [line for line in PAGE.splitlines() if f"{method.upper()} {path}" in line or f"`{path}`" in line]
    assert lines, f"{method.upper()} {path}"


def test_every_flag_is_described() -> None:
    flags = {flag for action in command._parser()._actions for flag in action.option_strings if flag.startswith("--")}
    assert [flag for flag in sorted(flags - {"--help"}) if f"`{flag}`" not in PAGE] == []


def test_every_fault_is_described_with_its_classes() -> None:
    rows = {
        match[1]: match[2]
        for match in re.finditer(r"^\| `(\w+)` \| ([\w, ]+) \|", PAGE.partition("## Faults")[2], re.MULTILINE)
    }
    assert set(rows) == {kind.value for kind in Kind}
    for kind in Kind:
        classes = [request_class.value for request_class in RequestClass if kind in KINDS[request_class]]
        said = "all" if len(classes) == len(RequestClass) else ", ".join(classes)
        assert rows[kind.value] == said, kind


def test_every_class_setting_knob_error_and_offer_is_described() -> None:
    names = [request_class.value for request_class in RequestClass]
    names += [f"x-sim-{knob.name.replace('_', '-')}" for knob in fields(Traits)]
    names += [each.code for each in (*ZONES, *TYPES)]
    names += [kind.code for kind in errors.CloudError.__subclasses__()]
    assert [name for name in names if f"`{name}`" not in PAGE] == []
    assert [name for name in SETTINGS if name not in PAGE] == []
