"""The walk through the code in the README: each step is where it says."""

import ast
import re

from tests.architecture.source import ROOT

STEP = re.compile(r"^\d\. `(?P<path>[^`]+\.py)`, `(?P<name>\w+)`:", re.MULTILINE)


def test_the_walk_of_an_order_is_true() -> None:
    steps = [(step["path"], step["name"]) for step in STEP.finditer((ROOT / "README.md").read_text())]
    assert len(steps) == 7
    for path, name in steps:
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        defined = {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, functions)}
        assert name in defined, f"{path} has no {name}"
