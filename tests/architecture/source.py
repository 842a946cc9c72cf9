"""The product's source as syntax trees: what the rules of this folder look at."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ("api", "workflows", "activities", "delivery", "workers", "models", "cli")
PROGRAMS = ("simcloud", "node")
GENERATED = ROOT / "models" / "migrations" / "versions"


@dataclass(frozen=True)
class Module:
    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return _parsed(self.text)

    def at(self, node: ast.AST) -> str:
        """`path:line`, as editors understand it."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


@cache
def modules(*packages: str) -> tuple[Module, ...]:
    """Every module of these packages, migrations apart (they are made by Alembic and never edited again)."""
    paths = sorted(
        path for package in packages for path in (ROOT / package).rglob("*.py") if GENERATED not in path.parents
    )
    return tuple(Module(str(path.relative_to(ROOT)), path.read_text()) for path in paths)


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a name or an attribute; the last parts only where something else than a name is at the front."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return node.id if isinstance(node, ast.Name) else ""


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node


def imports(tree: ast.AST) -> Iterator[tuple[str, str, ast.stmt]]:
    """(module, name, statement) of every import; the name is empty for `import module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name, node) for alias in node.names)


def decorated(tree: ast.AST, decorator: str) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Definitions that carry the decorator, called or not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names = {dotted(one.func if isinstance(one, ast.Call) else one) for one in node.decorator_list}
            if decorator in names:
                yield node
