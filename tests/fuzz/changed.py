"""Which routes are no longer what `make fuzz` went through: those are sent everything, the others a sample."""

import ast
import hashlib
import inspect
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

EXPLORED: Final = Path(__file__).with_name("explored.json")
"""Operation -> what it was made of when `make fuzz` passed."""

ROOT: Final = Path(__file__).parents[2]

FOLLOWED: Final = ("api.commands", "models.repositories", "models.domain")
"""Where it is written what a request does, behind its handler."""

EXPLORES: Final = os.environ.get("QUARTERDECK_FUZZ") == "explore"
"""Set by `make fuzz`. Read when imported: the variables of the shell are hidden from tests later."""


def made_of(app: FastAPI) -> dict[str, str]:
    """Operation -> a hash of its handler, of what that depends on, of the modules of ours that do what it says, and of its part of
    the OpenAPI document.
    """
    document = app.openapi()
    modules = Modules()
    handlers = {
        f"{method} {route.path_format}": [_sources(route.dependant), modules.behind(_modules(route.dependant))]
        for route in iter_route_contexts(app.routes)
        if isinstance(route.original_route, APIRoute)
        for method in route.methods or ()
    }
    return {
        label: _hash(handlers[label], _with_schemas(operation, document))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for label in [f"{method.upper()} {path}"]
    }


def changed(app: FastAPI) -> list[str]:
    explored = json.loads(EXPLORED.read_text())
    return [label for label, made in made_of(app).items() if explored.get(label) != made]


def keep(app: FastAPI) -> None:
    EXPLORED.write_text(json.dumps(dict(sorted(made_of(app).items())), indent=1) + "\n")


def _sources(dependant: Dependant) -> list[str]:
    """Of the handler and of all that it depends on; where a thing has none, of its class."""
    call = dependant.call
    code = call if inspect.isroutine(call) or inspect.isclass(call) else type(call)
    own = inspect.getsource(code)
    return [own, *(text for one in dependant.dependencies for text in _sources(one))]


def _modules(dependant: Dependant) -> set[str]:
    """Where the handler and what it depends on are written."""
    call = inspect.unwrap(dependant.call) if inspect.isroutine(dependant.call) else dependant.call
    found = {getattr(call, "__module__", "")}
    return found.union(*(_modules(one) for one in dependant.dependencies))


class Modules:
    """The product's own, read once each."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._hashes: dict[str, str] = {}
        self._imported: dict[str, set[str]] = {}

    def behind(self, modules: set[str]) -> dict[str, str]:
        """Name -> a hash, of those in `FOLLOWED` that are imported by these, directly or through one another."""
        ahead = {one for name in modules for one in self._imports(name)}
        found: dict[str, str] = {}
        while ahead:
            if (name := ahead.pop()) not in found:
                ahead |= self._imports(name)
                found[name] = self._hashes[name]
        return found

    def _imports(self, name: str) -> set[str]:
        if name not in self._imported:
            path = self._path(name)
            text = "" if path is None else path.read_text()
            self._hashes[name] = _hash(text)
            named = set(_imported(ast.parse(text)))
            self._imported[name] = {one for one in named if one.startswith(FOLLOWED) and self._path(one)}
        return self._imported[name]

    def _path(self, name: str) -> Path | None:
        whole = self._root / name.replace(".", "/")
        return next((path for path in (whole.with_suffix(".py"), whole / "__init__.py") if path.is_file()), None)


def _imported(tree: ast.Module) -> Iterator[str]:
    """Names of modules, and of what may be one: `from a import b` is either."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _with_schemas(operation: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """The operation, and every component that it names, directly or through another."""
    found: dict[str, Any] = {}
    ahead = list(_names(operation))
    while ahead:
        if (name := ahead.pop()) not in found:
            found[name] = document["components"]["schemas"][name]
            ahead += _names(found[name])
    return {"operation": operation, "schemas": found}


def _names(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(name := part.get("$ref"), str):
            yield name.rpartition("/")[2]
        for value in part.values():
            yield from _names(value)
    elif isinstance(part, list):
        for value in part:
            yield from _names(value)


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
