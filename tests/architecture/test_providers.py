"""A provider is added by adding files: nothing outside of them says its name, and what is listed belongs together."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from activities.fleet.providers import provider_of
from models.domain.fleet.provider_kind import ProviderKind
from models.domain.fleet.provider_kinds import PROVIDER_KINDS
from models.repositories.fleet import seeding
from tests.architecture.source import OURS, ROOT, Module, imports, modules

CODES = frozenset({line["provider"] for line in seeding._lines("providers")})
ORDINARY = frozenset({"local"})
"""An English word: found as the whole of a name or text only."""
KNOWS_WHY = {
    ("models/settings/families/fleet.py", "local"): "the name of this machine's zone where nobody names another",
    ("models/base/foreign_variables.py", "aws"): "variables that a vendor's library reads, whoever loads it",
    ("models/base/foreign_variables.py", "ovh"): "as above",
    ("activities/runtime/sandbox.py", "local"): "a class of the standard library: what each thread has of its own",
}
"""(module, code) -> why it is no provider's name there."""


def own_files(code: str) -> tuple[str, ...]:
    return (
        f"activities/adapters/{code}/",
        f"models/domain/fleet/providers/{code}.py",
        f"models/settings/families/{code}.py",
    )


def words_of(tree: ast.Module) -> Iterator[str]:
    """Names, and texts that are no sentences: docstrings and messages may explain by an example."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.arg | ast.keyword) and node.arg:
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            yield node.value
    for module, name, _ in imports(tree):
        yield from (*module.split("."), name)


def named(everything: Iterable[Module], codes: Iterable[str] = CODES) -> set[tuple[str, str]]:
    """Where a provider is named outside its own files."""
    found = set()
    for module in everything:
        said = {word.strip("_").lower() for word in words_of(module.tree)}
        parts = {part for word in said for part in re.split(r"[^a-z0-9]+", word)}
        for code in codes:
            if code in (said if code in ORDINARY else said | parts) and not module.path.startswith(own_files(code)):
                found.add((module.path, code))
    return found


def test_no_provider_is_named_outside_its_files() -> None:
    assert {"local", "mock", "aws", "ovh"} <= CODES
    assert named(modules(*OURS)) == KNOWS_WHY.keys()


@pytest.mark.parametrize(
    "text",
    [
        "LOCAL = 1", 'x = code == "local"', 'if code != "mock": pass', "from activities.adapters.mock import MockCompute",
        "from activities.adapters import local", "def _mock(): ...", "MOCK_MODEL = 1", 'x = "mock-echo-model"', "f(aws=1)",
    ],
)  # fmt: skip
def test_such_a_name_would_be_found(text: str) -> None:
    assert named([Module("models/domain/fleet/x.py", text)])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("activities/adapters/mock/client.py", 'CODE = "mock"'),
        ("workflows/x.py", "workflow.execute_local_activity(1)"),
        ("models/x.py", '"""As `mock` does."""'),
    ],
)
def test_what_is_no_provider_is_let_through(path: str, text: str) -> None:
    assert not named([Module(path, text)])


@pytest.mark.parametrize("kind", tuple(PROVIDER_KINDS), ids=lambda kind: kind.code)
def test_every_kind_has_an_adapter_and_a_place_in_the_catalogue(kind: ProviderKind) -> None:
    assert provider_of(kind).kind is kind
    [line] = [line for line in seeding._lines("providers") if line["provider"] == kind.code]
    assert line["has_adapter"] == "true"


def test_every_adapter_has_a_kind() -> None:
    folders = {path.parent.name for path in Path(ROOT / "activities" / "adapters").glob("*/__init__.py")}
    assert folders == {kind.code for kind in PROVIDER_KINDS}
