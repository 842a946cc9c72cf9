"""Every function of the database has somebody who calls it: one without is a promise that nobody keeps."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import psycopg

from tests.servers import TestDatabase

ROOT = Path(__file__).parents[2]
PRODUCT = ("activities", "api", "delivery", "cli", "models", "workers", "workflows")
MIGRATIONS = ROOT / "models" / "migrations" / "versions"
CALL = re.compile(r"\b([a-z_0-9]+)\s*\(")

FUNCTIONS = """
SELECT p.proname, p.prosrc, EXISTS (SELECT FROM pg_trigger t WHERE t.tgfoid = p.oid)
FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
"""
RULES = """
SELECT pg_get_expr(polqual, polrelid) FROM pg_policy
UNION ALL SELECT pg_get_expr(polwithcheck, polrelid) FROM pg_policy
UNION ALL SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef
UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT definition FROM pg_views WHERE schemaname = 'public'
"""


def called_in(texts: Iterable[str | None]) -> set[str]:
    return {name for text in texts if text for name in CALL.findall(text)}


def called_by_the_product() -> set[str]:
    """In SQL, or by SQLAlchemy's `func`: a Python function of the same name calls nothing in the database."""
    paths = [path for package in PRODUCT for path in (ROOT / package).rglob("*.py")]
    trees = [ast.parse(path.read_text()) for path in paths if not path.is_relative_to(MIGRATIONS)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return called_in(texts) | {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "func"
    }


def reachable(functions: dict[str, str], roots: set[str]) -> set[str]:
    """The functions that these call, directly or not. A body that only mentions itself calls nobody into being."""
    found: set[str] = set()
    waiting = roots & functions.keys()
    while waiting:
        found |= waiting
        waiting = (called_in(functions[name] for name in waiting) & functions.keys()) - found
    return found


def test_every_function_is_called_by_the_product_or_by_the_database_itself(database: TestDatabase) -> None:
    with psycopg.connect(database.admin) as connection:
        rows = connection.execute(FUNCTIONS).fetchall()
        rules = called_in(rule for (rule,) in connection.execute(RULES).fetchall())
    functions: dict[str, str] = {}
    for name, body, _ in rows:
        functions[name] = functions.get(name, "") + body
    triggers = {name for name, _, is_trigger in rows if is_trigger}
    unused = functions.keys() - reachable(functions, triggers | rules | called_by_the_product())
    assert len(functions) > 20
    assert not unused, f"nothing calls {sorted(unused)}: give each its caller, or take its file away"


def test_a_function_that_only_a_forgotten_one_calls_is_forgotten_too() -> None:
    functions = {"used": "SELECT helper(1)", "helper": "", "forgotten": "SELECT below()", "below": "SELECT below()"}
    assert reachable(functions, {"used", "now"}) == {"used", "helper"}
