"""One idea per module, one step per function: the limits above which nobody reads a thing whole."""

import ast

from tests.architecture.source import OURS, PROGRAMS, Module, modules

MODULE_LINES, ROUTER_LINES, WORKFLOW_LINES, FUNCTION_LINES = 400, 300, 250, 60


def limit_of(path: str) -> int:
    if path.startswith("api/routers/"):
        return ROUTER_LINES
    return WORKFLOW_LINES if path.startswith("workflows/") else MODULE_LINES


def too_long(module: Module) -> list[str]:
    lines = len(module.text.splitlines())
    found = [f"{module.path} has {lines} lines"] if lines > limit_of(module.path) else []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION_LINES:
                found.append(f"{module.at(node)} {node.name}() has {length} lines")
    return found


def test_nothing_is_too_long() -> None:
    assert [line for module in modules(*OURS, *PROGRAMS) for line in too_long(module)] == []


def test_what_is_too_long_is_found() -> None:
    long_function = "def f():\n" + "    x()\n" * FUNCTION_LINES
    assert too_long(Module("models/x.py", long_function)) == [f"models/x.py:1 f() has {FUNCTION_LINES + 1} lines"]
    assert too_long(Module("workflows/x.py", "x()\n" * (WORKFLOW_LINES + 1))) != []
    assert too_long(Module("models/x.py", "x()\n" * (WORKFLOW_LINES + 1))) == []
