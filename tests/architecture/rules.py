"""The rules that no linter knows. Each takes modules and returns the places that break it."""

import ast
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator

from tests.architecture.source import Module, calls, decorated, dotted, imports
from tests.patience import GIVE_UP_S

Rule = Callable[[Iterable[Module]], list[str]]

UNDETERMINED_MODULES = frozenset({"random", "secrets", "socket", "subprocess", "threading", "time"})
UNDETERMINED_NAMES = frozenset({"new_id", "utc_now", "uuid1", "uuid4", "uuid7", "urandom", "getenv", "environ"})
UNDETERMINED_CALLS = frozenset(
    {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "os.urandom", "os.getenv", "uuid.uuid4", "open"}
)
STATE_NAMES = ("status", "state")
READS_FILES_ITSELF = frozenset(
    {
        "api/http/swagger_ui.py",  # the assets of an installed package
        "activities/runtime/client.py",  # certificates that a setting names
        "models/migrations/functions.py",  # a part of the product
        "models/repositories/fleet/seeding.py",  # a part of the product
        "workers/embedded/postgres_place.py",  # PostgreSQL's own pid file: whom it names is looked at before anything is ended
        "workers/embedded/postgres_files.py",  # the server's configuration, to see whether it is the one that would be written
        "workers/embedded/processes.py",  # /proc, and the last line of a log, for people
        "workers/fingerprints.py",  # a part of the product
        "workers/record.py",  # a tool of developers
        "workers/steering.py",  # a part of the product
    }
)
HTTP_CLIENTS = frozenset({"ClientSession", "AsyncClient", "AsyncHTTPTransport", "HTTPTransport", "httpx.Client"})
CLOCKS = frozenset({"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "thread_time"})
MAY_MEASURE = frozenset({"tests/chaos/scoreboard.py"})
"""`make chaos` has the machine to itself and judges by promises."""
MAY_GIVE_UP = ("tests/chaos/", "tests/upgrade/")
"""As above; and a recording, which is made by somebody who looks on."""
WAITS = {"until": 1, "eventually": 1, "recorded": 2, "wait_for": 1, "wait": 0, "timeout": 0}
"""Calls that wait -> which argument says how long."""
A_WAIT_S = 5.0
OWN_CLOCKS = frozenset(
    {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns", "workflow.now"}
)
TELLS_THE_TIME = frozenset(
    {
        "models/base/clock.py",  # what the others here use
        "models/repositories/database_clock.py",  # before the first word of the database, when nothing is known to compare
        "activities/adapters/local/adapter.py",  # of the provider `local` this clock is the meter
        "cli/commands/instances.py",  # ages, for people
        "cli/commands/operations.py",  # as `instances.py`
        "cli/following.py",  # as `instances.py`
        "cli/snapshot.py",  # as `instances.py`
        "workers/record.py",  # a tool of developers
        "workers/embedded/backup.py",  # says when a backup was made, for people
        "workers/embedded/clocks.py",  # compares this clock with the database's
        "workers/embedded/doctor.py",  # says what time it is
        "workers/embedded/status.py",  # how long a part has run, for people, from what this machine wrote
        "workers/embedded/supervisor.py",  # as `status.py`
        "workflows/fleet/instances/owner.py",  # Temporal's moments of a call, compared with Temporal's clock
        "workflows/fleet/instances/removal.py",  # how long it has been since another moment of the same clock
        "workflows/lib/moments.py",  # puts the database's moments on it
        "workflows/lib/rounds.py",  # timers, which are Temporal's
    }
)
"""Each for a reason: nowhere else does it matter what time a process believes that it is."""
USED_ELSEWHERE = {
    "Fetcher": "how addresses that customers name will be called (docs/decisions/0012-egress.md)",
    "Opened": "what the sockets of a family work with, as that of tests/toys does",
    "OwnedTable": "what a family projects with whose rows nothing else hangs on, as tests/toys does",
    "PrivateSeals": "what the worker of a provider opens, which no other process can (docs/decisions/0085-sealed-values.md)",
    "PublicSeal": "what the API takes in for it",
    "TenantSeals": "what every family seals with; no table of today has a secret to keep",
    "cell_of": "where it lies",
    "make_private_key": "what such a worker makes",
    "public_key_of": "what it tells the API",
    "permitted": "what an owner asks with before it spends or destroys, as tests/toys does",
    "let_go": "what a family says of a resource that needs its blobs no more (docs/decisions/0090-blobs.md)",
    "refer": "what it says of one that needs a blob",
    "refuse_while_in_use": "what the removal of an organization asks first (contract decision 18); no route removes one yet",
    "run_now": "what a route of a family has its schedule run once with, as that of tests/toys does",
    "histories": "what `python -m workers.record` has recorded, for the replay that is the gate",
}
CLI_MAY_IMPORT = frozenset({"cli", "models", "httpx", "httpx_sse", "typer", "rich", "click"})


def undetermined_workflows(modules: Iterable[Module]) -> list[str]:
    """A workflow is replayed: a clock, a random number, the environment or a socket gives it another answer then."""
    found = []
    for module in modules:
        for name, imported, node in imports(module.tree):
            if name.partition(".")[0] in UNDETERMINED_MODULES or imported in UNDETERMINED_NAMES:
                found.append(f"{module.at(node)} imports {name} {imported}".rstrip())
        for name, call in calls(module.tree):
            if any(name == one or name.endswith(f".{one}") for one in UNDETERMINED_CALLS):
                found.append(f"{module.at(call)} calls {name}()")
    return found


MUTABLE_MAKERS = frozenset(
    {"list", "dict", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict", "ContextVar"}
)
MUTABLE_DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp)


def state_between_runs(modules: Iterable[Module]) -> list[str]:
    """A worker loads a workflow's modules once for all its runs: what one run left in them, another would find."""
    found = []
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Global):
                found.append(f"{module.at(node)} changes {', '.join(node.names)}")
            if isinstance(node, ast.Module | ast.ClassDef):
                found += [f"{module.at(one)} keeps something that can be changed" for one in node.body if _keeps(one)]
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = {dotted(one.func if isinstance(one, ast.Call) else one) for one in node.decorator_list}
                if {name.rpartition(".")[2] for name in names} & {"cache", "lru_cache"}:
                    found.append(f"{module.at(node)} {node.name} keeps what it answered")
    return found


def _keeps(node: ast.stmt) -> bool:
    """Whether this assignment makes a name of a module or class stand for something mutable."""
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    if isinstance(node, ast.Assign) and [dotted(one) for one in node.targets] == ["__all__"]:
        return False
    if isinstance(value, ast.Call):
        return dotted(value.func).rpartition(".")[2] in MUTABLE_MAKERS
    return isinstance(value, MUTABLE_DISPLAYS)


def options_outside_options(modules: Iterable[Module]) -> list[str]:
    """Time-outs and retry policies stand in workflows/options.py, each with its reason."""
    return [
        f"{module.at(node)} builds a {name}"
        for module in modules
        if module.path != "workflows/options.py"
        for name, node in calls(module.tree)
        if name.rpartition(".")[2] in {"timedelta", "RetryPolicy"}
    ]


def activities_called_directly(modules: Iterable[Module]) -> list[str]:
    """A workflow names an activity to have it executed; calling it would do the work inside the workflow."""
    found = []
    for module in modules:
        names = {name for source, name, _ in imports(module.tree) if _holds_activities(source)}
        for called, node in calls(module.tree):
            if called.partition(".")[0] in names:
                found.append(f"{module.at(node)} calls {called}()")
    return found


def _holds_activities(module: str) -> bool:
    """`activities.runtime` is the machinery around them: reading the cause of a failure is no side effect."""
    return module.partition(".")[0] == "activities" and not module.startswith("activities.runtime")


def http_exceptions(modules: Iterable[Module]) -> list[str]:
    """Only api/http/errors.py makes an error body: everything else raises an AppError."""
    return [
        f"{module.at(node)} uses HTTPException"
        for module in modules
        if module.path != "api/http/errors.py"
        for node in ast.walk(module.tree)
        if dotted(node).removeprefix("http.client.HTTPException").rpartition(".")[2] == "HTTPException"
        or (isinstance(node, ast.ImportFrom) and any(alias.name == "HTTPException" for alias in node.names))
    ]


def commits(modules: Iterable[Module]) -> list[str]:
    """One place ends a transaction, so that one request or activity is one transaction."""
    return [
        f"{module.at(node)} calls {name}()"
        for module in modules
        if not module.path.startswith(("models/repositories/", "models/migrations/"))
        for name, node in calls(module.tree)
        if "." in name and name.rpartition(".")[2] == "commit"
    ]


def swallowed_exceptions(modules: Iterable[Module]) -> list[str]:
    """A handler that does nothing hides what happened; `contextlib.suppress` with a narrow class says that it is meant."""
    return [
        f"{module.at(node)} swallows an exception"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or all(_does_nothing(statement) for statement in node.body))
    ]


def _does_nothing(statement: ast.stmt) -> bool:
    is_ellipsis = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass) or is_ellipsis


def states_compared_as_text(modules: Iterable[Module]) -> list[str]:
    """A state is a member of its StrEnum: a literal with a typing error would compile and never match."""
    found = []
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                if any(_is_state(side) for side in sides) and any(_holds_text(side) for side in sides):
                    found.append(f"{module.at(node)} compares a state with a literal")
    return found


def _is_state(node: ast.expr) -> bool:
    name = dotted(node).rpartition(".")[2]
    return name in STATE_NAMES or name.endswith(tuple(f"_{one}" for one in STATE_NAMES))


def _holds_text(node: ast.expr) -> bool:
    elements = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return any(isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value for one in elements)


def cli_imports(modules: Iterable[Module]) -> list[str]:
    """The command line works on a machine that has nothing of the server's."""
    return [
        f"{module.at(node)} imports {name}"
        for module in modules
        for name, _, node in imports(module.tree)
        if name.partition(".")[0] not in CLI_MAY_IMPORT | sys.stdlib_module_names
    ]


def files_believed(modules: Iterable[Module]) -> list[str]:
    """What a file says is believed by the one rule of models/base/private_files.py: a file may be somebody else's."""
    return [
        f"{module.at(node)} calls {name}()"
        for module in modules
        if module.path not in READS_FILES_ITSELF
        for name, node in calls(module.tree)
        if name.rpartition(".")[2] in {"read_text", "read_bytes"} or name == "json.load"
    ]


def not_registered_once(defined_in: Iterable[Module], registries: Iterable[Module]) -> list[str]:
    """Every workflow class and activity is served by exactly one queue of one family."""
    uses = Counter(
        node.id if isinstance(node, ast.Name) else node.attr
        for registry in registries
        for node in ast.walk(registry.tree)
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
    )
    return [
        f"{module.at(node)} {node.name} is served {uses[node.name]} times"
        for module in defined_in
        for decorator in ("workflow.defn", "activity.defn")
        for node in decorated(module.tree, decorator)
        if uses[node.name] != 1
    ]


def locks_elsewhere(modules: Iterable[Module]) -> list[str]:
    """models/repositories/locking.py locks, and reads again what the session knew before the lock. Nobody locks beside it."""
    return [
        f"{module.at(node)} locks by itself"
        for module in modules
        if module.path != "models/repositories/locking.py"
        for node in ast.walk(module.tree)
        if (isinstance(node, ast.Attribute) and node.attr == "with_for_update")
        or (isinstance(node, ast.keyword) and node.arg == "with_for_update")
        or (isinstance(node, ast.Constant) and isinstance(node.value, str) and _locks_and_reads(node.value))
    ]


def _locks_and_reads(text: str) -> bool:
    """A statement of its own that locks; FOR UPDATE in a docstring's prose is none."""
    words = text.upper().split()
    return (
        bool(words)
        and words[0] in {"SELECT", "WITH"}
        and ("FOR UPDATE" in (flat := " ".join(words)) or "FOR NO KEY UPDATE" in flat)
    )


def unused_names(modules: Iterable[Module], excused: Collection[str] | None = None) -> list[str]:
    """What only a test uses is not part of the product: a time-out that nobody waits for says something untrue.

    What a decorator hands on (a route, an activity) and what a table is has its user elsewhere. A member of a class is not seen.
    """
    everything = list(modules)
    excused = USED_ELSEWHERE if excused is None else excused
    used = {name for module in everything for node in ast.walk(module.tree) for name in _uses(node)}
    return [
        f"{module.at(node)} {name} is used by nothing that runs"
        for module in everything
        for node in module.tree.body
        for name in _defines(node)
        if name not in used and name not in excused and not name.startswith("__")
    ]


def _uses(node: ast.AST) -> Iterable[str]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        return [node.id]
    if isinstance(node, ast.ImportFrom):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.Call) and dotted(node.func).startswith(
        "exported"
    ):  # what the modules of a listed package are read for
        return [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return [node.attr] if isinstance(node, ast.Attribute) else []


def _defines(node: ast.stmt) -> Iterable[str]:
    match node:
        case ast.FunctionDef(name=name, decorator_list=[]) | ast.AsyncFunctionDef(name=name, decorator_list=[]):
            return [name]
        case ast.ClassDef(name=name, keywords=keywords):
            return [] if any(keyword.arg == "table" for keyword in keywords) else [name]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
    return []


def durations_judged(modules: Iterable[Module]) -> list[str]:
    """How long something took says how busy the machine was. A test waits for an effect or counts; `make bench` measures.

    A deadline, which a wait compares its clock with, is none of these: nothing is taken away from a reading of a clock.
    """
    return [
        f"{module.at(node)} measures a duration"
        for module in modules
        if module.path not in MAY_MEASURE
        for node in ast.walk(module.tree)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and _reads_a_clock(node.left)
    ]


def impatient_waits(modules: Iterable[Module]) -> list[str]:
    """Who gives up after some seconds judges how busy the machine was: `tests/patience.py` says when. What must not happen is watched
    for less than `A_WAIT_S`.
    """
    return [
        f"{module.at(call)} gives up after {seconds:g} s"
        for module in modules
        if not module.path.startswith(MAY_GIVE_UP)
        for name, call in calls(module.tree)
        for seconds in _waits_s(name, call)
        if A_WAIT_S <= seconds < GIVE_UP_S
    ]


def _waits_s(name: str, call: ast.Call) -> Iterator[float]:
    given = [keyword.value for keyword in call.keywords if keyword.arg in {"timeout", "total", "patience_s"}]
    last = name.rpartition(".")[2]
    if last in WAITS:
        given += [
            *call.args[WAITS[last] :],
            *(keyword.value for keyword in call.keywords if keyword.arg == "timeout_s"),
        ]
    for value in given:
        if isinstance(value, ast.Constant) and isinstance(value.value, int | float):
            yield value.value


def _reads_a_clock(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name, _, last = dotted(node.func).rpartition(".")
    return last in CLOCKS or (last == "time" and (name in {"", "time"} or name.endswith("loop")))


def clocks_of_machines(modules: Iterable[Module]) -> list[str]:
    """What is stored or compared is the database's time: `began_at` in a transaction, `DatabaseClock` between them, `Moments` in a
    workflow. What is measured is `time.monotonic`. Any other clock may be an hour off (docs/decisions/0062-one-clock.md).
    """
    found = []
    for module in modules:
        if module.path in TELLS_THE_TIME:
            continue
        found += [f"{module.at(node)} imports utc_now" for _, name, node in imports(module.tree) if name == "utc_now"]
        for name, call in calls(module.tree):
            if any(name == one or name.endswith(f".{one}") for one in OWN_CLOCKS):
                found.append(f"{module.at(call)} calls {name}()")
    return found


def environments_trusted(modules: Iterable[Module]) -> list[str]:
    """An HTTP client takes neither proxies nor passwords from the environment by itself: models/base/proxies.py says which proxy."""
    return [
        f"{module.at(node)} builds a {name} without trust_env=False"
        for module in modules
        for name, node in calls(module.tree)
        if {name, name.rpartition(".")[2]} & HTTP_CLIENTS
        and not any(
            one.arg == "trust_env" and isinstance(one.value, ast.Constant) and one.value.value is False
            for one in node.keywords
        )
    ]


def open_keyword_bags(modules: Iterable[Module]) -> list[str]:
    """What a workflow writes is named: behind `**change: Any` a misspelt field is lost in silence."""
    return [
        f"{module.at(node)} {node.name} takes any keyword"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.args.kwarg is not None
        if not (
            isinstance(node.args.kwarg.annotation, ast.Subscript)
            and dotted(node.args.kwarg.annotation.value).rpartition(".")[2] == "Unpack"
        )
    ]
