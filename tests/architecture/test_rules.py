"""The product keeps the rules, and each rule catches what it is for."""

import pytest

from tests.architecture import rules
from tests.architecture.rules import Rule
from tests.architecture.source import OURS, PROGRAMS, Module, modules

WORKFLOWS = ("workflows",)
FAMILIES = ("workers/spine.py", "workers/families/")

KEPT: list[tuple[Rule, tuple[str, ...]]] = [
    (rules.undetermined_workflows, WORKFLOWS),
    (rules.state_between_runs, WORKFLOWS),
    (rules.options_outside_options, WORKFLOWS),
    (rules.activities_called_directly, WORKFLOWS),
    (rules.http_exceptions, OURS),
    (rules.commits, OURS),
    (rules.swallowed_exceptions, OURS + PROGRAMS),
    (rules.states_compared_as_text, OURS),
    (rules.cli_imports, ("cli",)),
    (rules.files_believed, OURS),
    (rules.locks_elsewhere, OURS),
    (rules.environments_trusted, OURS + PROGRAMS),
    (rules.open_keyword_bags, WORKFLOWS),
    (rules.durations_judged, ("tests",)),
    (rules.impatient_waits, ("tests",)),
    (rules.clocks_of_machines, OURS),
    (rules.unused_names, OURS + PROGRAMS),
]

BROKEN: list[tuple[Rule, str]] = [
    (rules.undetermined_workflows, "import random"),
    (rules.undetermined_workflows, "from uuid import uuid4"),
    (rules.undetermined_workflows, "from models.base.ids import new_id"),
    (rules.undetermined_workflows, "x = datetime.datetime.now(UTC)"),
    (rules.undetermined_workflows, "with open('x') as f: pass"),
    (rules.state_between_runs, "SEEN = set()"),
    (rules.state_between_runs, "KNOWN: dict[str, int] = {}"),
    (rules.state_between_runs, "class Owner:\n    heard: ClassVar[list[str]] = []"),
    (rules.state_between_runs, "def hear():\n    global LAST\n    LAST = 1"),
    (rules.state_between_runs, "@functools.lru_cache(maxsize=8)\ndef known(): ..."),
    (rules.options_outside_options, "x = timedelta(seconds=1)"),
    (rules.options_outside_options, "x = common.RetryPolicy()"),
    (rules.activities_called_directly, "from activities.x import Things\nThings().do()"),
    (rules.activities_called_directly, "from activities import x\nx.do_it(1)"),
    (rules.http_exceptions, "raise fastapi.HTTPException(404)"),
    (rules.http_exceptions, "from fastapi import HTTPException"),
    (rules.commits, "await self.session.commit()"),
    (rules.swallowed_exceptions, "try:\n    x()\nexcept ValueError:\n    pass"),
    (rules.swallowed_exceptions, "try:\n    x()\nexcept ValueError:\n    ..."),
    (rules.swallowed_exceptions, "try:\n    x()\nexcept:\n    log()"),
    (rules.states_compared_as_text, "row.status == 'ready'"),
    (rules.states_compared_as_text, "instance_state in ('ready', 'lost')"),
    (rules.states_compared_as_text, "'ready' != status"),
    (rules.files_believed, "json.loads(path.read_text())"),
    (rules.files_believed, "with path.open() as file: json.load(file)"),
    (rules.cli_imports, "import sqlalchemy"),
    (rules.cli_imports, "from workers.embedded import up"),
    (rules.environments_trusted, "httpx.AsyncClient(timeout=1)"),
    (rules.environments_trusted, "httpx.Client(trust_env=True)"),
    (rules.environments_trusted, "aiohttp.ClientSession(trust_env=unless_local)"),
    (rules.open_keyword_bags, "async def project(self, **change: Any): ..."),
    (rules.open_keyword_bags, "def project(**change): ..."),
    (rules.unused_names, "OUTBOX: Final = 1"),
    (rules.unused_names, "LEFT = 1\nRIGHT = LEFT"),
    (rules.unused_names, "def moment_text(): ..."),
    (rules.unused_names, "class Unused(Base): ..."),
    (rules.durations_judged, "assert time.monotonic() - began < 1"),
    (rules.durations_judged, "took = perf_counter() - began"),
    (rules.durations_judged, "took = asyncio.get_running_loop().time() - began"),
    (rules.durations_judged, "took = time.time() - began"),
    (rules.impatient_waits, "await recorded(world, 5, 25)"),
    (rules.impatient_waits, "process.communicate(timeout=10)"),
    (rules.impatient_waits, "async with asyncio.timeout(5.0): ..."),
    (rules.impatient_waits, "await until(serves, timeout_s=30)"),
    (rules.clocks_of_machines, "from models.base.clock import utc_now"),
    (rules.clocks_of_machines, "row.expires_at <= datetime.now(UTC)"),
    (rules.clocks_of_machines, "import datetime\ndatetime.datetime.now(UTC)"),
    (rules.clocks_of_machines, "age_s = time.time() - path.stat().st_mtime"),
    (rules.clocks_of_machines, "left = row.ready_at - workflow.now()"),
    (rules.locks_elsewhere, "select(Row).with_for_update()"),
    (rules.locks_elsewhere, "await session.get(Row, id, with_for_update=True)"),
    (rules.locks_elsewhere, "text('SELECT 1 FROM rows WHERE id = :id FOR NO KEY UPDATE')"),
]

FINE: list[tuple[Rule, str]] = [
    (rules.undetermined_workflows, "from uuid import UUID\nfrom datetime import datetime\nnow = workflow.now()"),
    (rules.state_between_runs, "CODES = frozenset({1})\nclass Owner:\n    def __init__(self): self.heard = []"),
    (rules.options_outside_options, "from datetime import timedelta\nx: timedelta"),
    (rules.activities_called_directly, "from activities.x import Things\nrun(Things.do, options)"),
    (rules.activities_called_directly, "from activities.runtime.failures import unwrap\nunwrap(error)"),
    (rules.http_exceptions, "try: x()\nexcept http.client.HTTPException: raise"),
    (rules.commits, "commit()"),
    (rules.files_believed, "json.loads(read_private(path))"),
    (rules.swallowed_exceptions, "try:\n    x()\nexcept ValueError:\n    return None"),
    (rules.states_compared_as_text, "row.status == InstanceStatus.READY\nresponse.status == 200\nname == 'ready'"),
    (rules.cli_imports, "import json\nimport httpx\nfrom models.base import errors"),
    (rules.environments_trusted, "httpx.Client(trust_env=False)\nClient(x)"),
    (rules.open_keyword_bags, "def project(**change: Unpack[Change]): ..."),
    (rules.unused_names, "LEFT = 1\nprint(LEFT)"),
    (rules.unused_names, "from x import left\ndef right(): return left\nright()"),
    (rules.unused_names, "@router.get('/x')\nasync def shown(): ..."),
    (rules.unused_names, "class Sample(Base, table=True): ..."),
    (rules.unused_names, "FAMILY: Final = 1\nexported(families, 'FAMILY', int)"),
    (rules.durations_judged, "while time.monotonic() < deadline:\n    wait(max(deadline - time.monotonic(), 0))"),
    (rules.durations_judged, "expired_at = int(time.time()) - 60"),
    (
        rules.impatient_waits,
        "await until(serves, GIVE_UP_S)\nlistener.notifies(timeout=0.2)\nLimits(drain_timeout_s=10)",
    ),
    (
        rules.clocks_of_machines,
        "now = await began_at(session)\nlater = time.monotonic() + 5\nleft = owner.moments.elapsed(at)",
    ),
    (rules.locks_elsewhere, "locked(select(Row))\n'owners lock with FOR NO KEY UPDATE'"),
]


def named(rule: Rule) -> str:
    return rule.__name__


@pytest.mark.parametrize(("rule", "packages"), KEPT, ids=[named(rule) for rule, _ in KEPT])
def test_the_product_keeps(rule: Rule, packages: tuple[str, ...]) -> None:
    assert modules(*packages)
    assert rule(modules(*packages)) == [], rule.__doc__


@pytest.mark.parametrize(("rule", "text"), BROKEN, ids=[named(rule) for rule, _ in BROKEN])
def test_the_rule_catches(rule: Rule, text: str) -> None:
    assert rule([Module("somewhere/else.py", text)]) != []


@pytest.mark.parametrize(("rule", "text"), FINE, ids=[named(rule) for rule, _ in FINE])
def test_the_rule_lets_through(rule: Rule, text: str) -> None:
    assert rule([Module("somewhere/else.py", text)]) == []


def test_every_workflow_and_activity_is_registered_once() -> None:
    registries = [module for module in modules("workers") if module.path.startswith(FAMILIES)]
    assert rules.not_registered_once(modules("workflows", "activities"), registries) == []


def test_the_registry_rule_counts() -> None:
    text = "class X:\n  @activity.defn\n  def once(self): ...\n  @activity.defn(name='t')\n  def twice(self): ..."
    defined = Module("activities/x.py", text)
    registries = [Module("workers/spine.py", "[x.once, x.twice]"), Module("workers/families/y.py", "[y.twice]")]
    assert [line.split()[1:] for line in rules.not_registered_once([defined], registries)] == [
        ["twice", "is", "served", "2", "times"]
    ]


def test_what_is_used_elsewhere_is_still_there_and_still_unused_here() -> None:
    """An exception that outlives what it excuses would hide the next one of that name."""
    found = rules.unused_names(modules(*OURS, *PROGRAMS), excused=())
    assert {line.split()[1] for line in found} == rules.USED_ELSEWHERE.keys()
