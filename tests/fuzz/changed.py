"""Which routes are no longer what `make fuzz` went through: those are sent everything, the others a sample."""

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

EXPLORES: Final = os.environ.get("QUARTERDECK_FUZZ") == "explore"
"""Set by `make fuzz`. Read when imported: the variables of the shell are hidden from tests later."""


def made_of(app: FastAPI) -> dict[str, str]:
    """Operation -> a hash of its handler, of what that depends on, and of its part of the OpenAPI document."""
    document = app.openapi()
    handlers = {
        f"{method} {route.path_format}": _sources(route.dependant)
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
