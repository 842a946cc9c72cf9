"""What the modules of a package export, found by listing the package: whoever adds one adds a file and edits none."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")


def exported(package: ModuleType, name: str, kind: type[T]) -> tuple[T, ...]:
    """The object of this name of each module of the package, in the order of the modules' names; sub-packages are modules too.

    Raises TypeError for a module that has no such object: what does not take part lies elsewhere.
    """
    return tuple(exported_by_module(package, name, kind).values())


def exported_by_module(package: ModuleType, name: str, kind: type[T]) -> dict[str, T]:
    """The same by the module's name in the package."""
    found = {}
    for module, value in _values(package, name):
        if not isinstance(value, kind):
            raise TypeError(f"{module} exports no {name} of type {kind.__name__}")
        found[module.rpartition(".")[2]] = value
    return found


def exported_classes(package: ModuleType, name: str, base: type[T]) -> tuple[type[T], ...]:
    """As `exported`, of sub-classes of `base`."""
    found = []
    for module, value in _values(package, name):
        if not (isinstance(value, type) and issubclass(value, base)):
            raise TypeError(f"{module} exports no {name} that is a {base.__name__}")
        found.append(value)
    return tuple(found)


def _values(package: ModuleType, name: str) -> Iterator[tuple[str, Any]]:
    for listed in sorted(pkgutil.iter_modules(package.__path__), key=lambda one: one.name):
        module = import_module(f"{package.__name__}.{listed.name}")
        yield module.__name__, getattr(module, name, None)
