"""What workflows decide by beside their commands: functions, methods and constants of the vocabulary, how failures are read,
and the constants of `workflows/` itself.

A history is replayed against them as well: a function that gives another answer than it gave takes another branch, and no
change of a command shows it. Read from the source, like the commands: what a workflow calls or names, and what that calls and
names in turn. Classes are not: their members are data, which a history brings with it. Nor is a constant that only stands in a
text, nor a set of options that is handed to a call.
"""

import ast
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

VOCABULARY: Final = ("models/base", "models/domain", "models/contracts", "activities/runtime/failures.py")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class _Module:
    path: str
    tree: ast.Module
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name in this module -> module and name that it was imported by."""
    defined: dict[str, ast.AST] = field(default_factory=dict)
    """Functions, methods as `Class.name`, and the values of constants."""

    def __post_init__(self) -> None:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                for alias in node.names:
                    self.imported[alias.asname or alias.name] = (node.module, alias.name)
        for statement in self.tree.body:
            if isinstance(statement, ast.ClassDef):
                methods = [each for each in statement.body if isinstance(each, Function)]
                self.defined.update({f"{statement.name}.{each.name}": each for each in methods})
            elif isinstance(statement, Function):
                self.defined[statement.name] = statement
            else:
                self.defined.update(dict(_constants(statement)))

    def constants(self) -> "_Module":
        """The same without functions and methods."""
        alone = copy(self)
        alone.defined = {name: value for name, value in self.defined.items() if not isinstance(value, Function)}
        return alone


def steering(folder: Path) -> dict[str, list[str]]:
    """`module::function` -> its source without words for people, of everything that the workflows in the folder decide by.

    Of the folder itself only constants are listed: what its functions do is in their commands. A method is found by its name
    alone, in the modules that the workflows import, directly or through one another.
    """
    root = folder.parent
    workflows = _modules(folder, root)
    others = [each for part in VOCABULARY for each in _modules(root / part, root)]
    vocabulary = {_dotted(each.path): each for each in (*(one.constants() for one in workflows), *others)}
    named = [(module, name) for module in _known(workflows, vocabulary) for name in module.defined if "." in name]
    methods = [(module, name) for module, name in named if not name.endswith("__")]
    found: dict[str, list[str]] = {}
    waiting: list[tuple[_Module, ast.AST]] = [
        (module, part) for module in workflows for part in module.tree.body if isinstance(part, ast.ClassDef | Function)
    ]
    while waiting:
        module, node = waiting.pop()
        reached = [_resolved(module, name, vocabulary) for name in set(_named(node))]
        attributes = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
        reached += [(other, name) for other, name in methods if name.partition(".")[2] in attributes]
        for target, name in filter(None, reached):
            if (key := f"{target.path}::{name}") not in found:
                found[key] = _source(target.defined[name])
                waiting.append((target, target.defined[name]))
    return found


def _known(workflows: Iterable[_Module], vocabulary: dict[str, _Module]) -> list[_Module]:
    """The modules of the vocabulary that workflows import, and what those import."""
    known: dict[str, _Module] = {}
    waiting = list(workflows)
    while waiting:
        for source, name in waiting.pop().imported.values():
            for dotted in (source, f"{source}.{name}"):
                if dotted in vocabulary and dotted not in known:
                    known[dotted] = vocabulary[dotted]
                    waiting.append(vocabulary[dotted])
    return list(known.values())


def _resolved(module: _Module, name: str, vocabulary: dict[str, _Module]) -> tuple[_Module, str] | None:
    """Where a name is defined, here or by an import; None for what is no function or constant of the vocabulary."""
    first, _, rest = name.partition(".")
    here = vocabulary.get(_dotted(module.path))
    if not rest and here is not None and first in here.defined:
        return here, first
    if first not in module.imported:
        return None
    source, original = module.imported[first]
    there, wanted = (f"{source}.{original}", rest) if rest else (source, original)
    target = vocabulary.get(there)
    return (target, wanted) if target is not None and wanted in target.defined else None


def _named(node: ast.AST) -> Iterator[str]:
    """Names and `module.name`s, without those that only stand in a text or in a set of options."""
    if isinstance(node, ast.JoinedStr) or _is_options(node):
        return
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        yield f"{node.value.id}.{node.attr}"
    for child in ast.iter_child_nodes(node):
        yield from _named(child)


def _constants(statement: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    value = getattr(statement, "value", None)
    for target in targets:
        is_other = isinstance(value, ast.Name) or _is_options(value) or _is_for_types(value)
        if isinstance(target, ast.Name) and isinstance(value, ast.AST) and not is_other:
            yield target.id, value


def _is_options(node: object) -> bool:
    """`ActivityOptions(…)` and its like: how a call is made, of which a history has nothing that a replay compares."""
    return isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Options")


def _is_for_types(node: object) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "TypeVar"


def _source(definition: ast.AST) -> list[str]:
    body = definition.body if isinstance(definition, Function) else [definition]
    return [line for each in body if not _is_text(each) for line in ast.unparse(each).splitlines()]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _modules(folder: Path, root: Path) -> list[_Module]:
    """Of a folder, or the one of a file."""
    files = [folder] if folder.suffix else sorted(folder.rglob("*.py"))
    return [_Module(str(path.relative_to(root)), ast.parse(path.read_text())) for path in files if path.exists()]


def _dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
