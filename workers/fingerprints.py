"""The commands that each workflow's source can issue, in source order, and what it decides by: changing it may break what runs.

Replay proves it for the paths that were recorded; the fingerprint also sees a path that was not, and names the change.
Read from the source with `ast`, so no import and no server: calls that become commands in a history (activities, children,
timers, patches, signals to others, continue-as-new, attribute updates), with the callable, a child's id, the option set and the
function. What is decided by outside the folder is in `workers/steering.py`.

`python -m workers.fingerprints` compares with `tests/replay/fingerprints.json` and prints the difference;
`python -m workers.fingerprints --write` accepts it.
"""

import ast
import difflib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from workers.steering import steering

ROOT: Final = Path(__file__).parent.parent
WORKFLOWS: Final = ROOT / "workflows"
BASELINE: Final = ROOT / "tests" / "replay" / "fingerprints.json"
REGENERATE: Final = "python -m workers.fingerprints --write"

COMMANDS: Final = {
    **{f"{verb}_{kind}{form}": kind for verb in ("execute", "start") for kind in ("activity", "local_activity")
       for form in ("", "_method", "_class")},
    "execute_child_workflow": "child",
    "start_child_workflow": "child",
    "sleep": "timer",
    "patched": "patched",
    "deprecate_patch": "deprecate_patch",
    "continue_as_new": "continue_as_new",
    "get_external_workflow_handle": "external",
    "get_external_workflow_handle_for": "external",
    "upsert_search_attributes": "upsert_search_attributes",
    "upsert_memo": "upsert_memo",
}  # fmt: skip
"""Names under `workflow.` (and `asyncio.sleep`, which is a timer too) -> what they are called in a fingerprint."""

HANDED_OVER: Final = re.compile(r"(Activities|Workflow)\.\w+$|^options\.")
"""Arguments of such a call that say what will run, and how."""

Fingerprints = dict[str, list[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def fingerprints(folder: Path = WORKFLOWS) -> Fingerprints:
    """`module::Class` or `module::function` -> its commands; definitions without any are left out, workflows never. Of the domain
    and the contracts, `module::function` -> its source.

    A call of a function of the folder that itself issues commands is listed as `-> name`, by name alone: two functions of
    one name may make an entry too many, never one too few.
    """
    trees = {str(path.relative_to(folder.parent)): ast.parse(path.read_text()) for path in sorted(folder.rglob("*.py"))}
    issuing = _issuing(trees.values())
    found: Fingerprints = steering(folder)
    for module, tree in trees.items():
        for definition in tree.body:
            if isinstance(definition, ast.ClassDef | Function):
                commands = list(_commands(definition, (), issuing))
                if commands or _is_workflow(definition):
                    found[f"{module}::{definition.name}"] = commands
    return found


def difference(expected: Fingerprints, actual: Fingerprints) -> str:
    """A unified diff with what to do about it; empty when they agree."""
    lines = list(
        difflib.unified_diff(_listing(expected), _listing(actual), "recorded", "this source", lineterm="", n=2)
    )
    if not lines:
        return ""
    return "\n".join(
        [
            "The commands of a workflow changed, or what it decides by. A running one replays its history against this",
            "source and stops with a nondeterminism error where the commands then differ. If such workflows may be running:",
            "guard the change with workflow.patched(…) and keep the old branch. Then accept it:",
            f"    {REGENERATE}",
            "",
            *lines,
        ]
    )


def baseline(path: Path = BASELINE) -> Fingerprints:
    """The accepted fingerprints; none where nothing was accepted yet."""
    stored: Fingerprints = json.loads(path.read_text()) if path.exists() else {}
    return stored


def _issuing(trees: Iterable[ast.Module]) -> frozenset[str]:
    """Names of the functions that issue commands, directly or through one another."""
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, Function)]
    issuing: frozenset[str] = frozenset()
    while True:
        grown = frozenset(each.name for each in functions if next(_commands(each, (), issuing), None) is not None)
        if grown == issuing:
            return issuing
        issuing = grown


def _commands(node: ast.AST, scope: tuple[str, ...], issuing: frozenset[str]) -> Iterator[str]:
    """Depth first in source order; a call after its arguments, as Python evaluates them."""
    inner = (*scope, node.name) if isinstance(node, Function) else scope
    for child in ast.iter_child_nodes(node):
        yield from _commands(child, inner, issuing)
    if isinstance(node, ast.Call):
        entry = _command(node) or _indirect(node, issuing)
        if entry is not None:
            yield f"{'.'.join(scope) or '-'}: {entry}"


def _indirect(call: ast.Call, issuing: frozenset[str]) -> str | None:
    owner, _, name = ast.unparse(call.func).rpartition(".")
    if name not in issuing or owner == "options":
        return None
    arguments = [ast.unparse(each) for each in call.args]
    return f"-> {name}({', '.join(each for each in arguments if HANDED_OVER.search(each))})"


def _command(call: ast.Call) -> str | None:
    name = ast.unparse(call.func)
    owner, _, attribute = name.rpartition(".")
    if attribute == "wait_condition" and owner == "workflow":
        return "timer(wait_condition)" if any(word.arg == "timeout" for word in call.keywords) else None
    kind = COMMANDS.get(attribute)
    if kind is None or owner not in {"workflow", "asyncio"} or (owner == "asyncio" and attribute != "sleep"):
        return None
    target = ast.unparse(call.args[0]) if call.args and kind not in {"timer", "continue_as_new"} else ""
    ids = [f"id={ast.unparse(word.value)}" for word in call.keywords if kind == "child" and word.arg == "id"]
    options = [f"**{ast.unparse(word.value)}" for word in call.keywords if word.arg is None]
    return f"{kind}({', '.join([*filter(None, [target]), *ids, *options])})"


def _is_workflow(definition: ast.AST) -> bool:
    decorators = getattr(definition, "decorator_list", [])
    return any(ast.unparse(each).startswith("workflow.defn") for each in decorators)


def _listing(given: Fingerprints) -> list[str]:
    return [line for name in sorted(given) for line in (name, *(f"    {command}" for command in given[name]))]


def main(arguments: list[str]) -> int:
    actual = fingerprints()
    if arguments == ["--write"]:
        BASELINE.write_text(json.dumps(actual, indent=1, sort_keys=True) + "\n")
        return 0
    changed = difference(baseline(), actual)
    if changed:
        sys.stdout.write(changed + "\n")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
