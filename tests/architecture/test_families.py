"""A family is added by adding files: nothing of today names one where families are joined, and none knows another but by a reason."""

from collections.abc import Iterable

import pytest
from starlette.routing import WebSocketRoute

from api import registry as api_registry
from models.contracts.owner_kinds import OwnerKinds
from models.migrations.words import owner_kinds
from tests.architecture.source import OURS, Module, imports, modules
from workers import registry as workers_registry

NAMES = frozenset({"fleet", "identity", "inference"})
LISTED = (
    "workers.families", "workers.parts", "api.families", "cli.commands", "models.domain.permissions", "models.settings.families",
)  # fmt: skip
"""Packages whose modules are found by listing them."""

JOINED_IN = frozenset(
    {
        "workers/registry.py", "workers/composition.py", "workers/worker.py", "workers/standing.py", "workers/family.py",
        "workers/spine.py", "workers/family_parts.py", "workers/embedded/stack.py",
        "api/registry.py", "api/app.py", "api/family.py", "api/spine.py", "api/composition.py",
        "api/state.py", "api/part.py", "api/health.py", "api/routers/system.py", "api/pulse.py", "cli/application.py",
        "models/repositories/pulse.py",
        "models/domain/identity/roles.py", "models/settings/settings.py", "models/settings/reference.py",
    }
)  # fmt: skip
"""The roots: they join what they find."""

ROOTS_KNOW = {
    ("models/settings/settings.py", "models.settings.families.fleet"): "for the type checker alone",
    ("models/settings/settings.py", "models.settings.families.inference"): "for the type checker alone",
}

KNOWN_BY_ALL = frozenset(
    {"models.domain.identity.principal", "models.domain.identity.roles", "models.domain.identity.grants"}
)
"""Who calls, and what they may: every handler's signature speaks of it."""

ACROSS = {
    (
        "api/routers/fleet/instance_metrics.py",
        "models.repositories.inference",
    ): "figures of an instance are those of its calls",
    ("api/schemas/fleet/instance_metrics.py", "models.repositories.inference.metrics"): "as above, as they are shown",
    (
        "models/repositories/inference/metrics.py",
        "models.domain.fleet.instances.refusals",
    ): "it answers for one instance",
    ("models/repositories/inference/metrics.py", "models.tables.fleet.instances"): "as above",
    (
        "models/repositories/inference/routes.py",
        "models.domain.fleet.instances.credentials",
    ): "the key of a model server",
}
"""(module, what it imports of another family) -> why."""


def family_of(dotted: str) -> str | None:
    return next((part for part in dotted.split(".") if part in NAMES), None)


def imported(module: Module) -> Iterable[str]:
    """Modules, and what may be one: `from package import module` is told from a name by its family."""
    for name, member, _ in imports(module.tree):
        yield f"{name}.{member}" if member in NAMES else name


def across(everything: Iterable[Module]) -> set[tuple[str, str]]:
    """Where a module of one family imports another family's."""
    found = set()
    for module in everything:
        own = family_of(module.path.removesuffix(".py").replace("/", "."))
        for name in imported(module):
            other = family_of(name)
            if own is not None and other is not None and own != other and name not in KNOWN_BY_ALL:
                found.add((module.path, name))
    return found


def named_by_roots(everything: Iterable[Module]) -> set[tuple[str, str]]:
    """Where a root imports a family's module."""
    return {
        (module.path, name)
        for module in everything
        if module.path in JOINED_IN
        for name in imported(module)
        if family_of(name) is not None and name not in KNOWN_BY_ALL
    }


def listed_by_name(everything: Iterable[Module]) -> set[tuple[str, str]]:
    """Where a module imports what is found by listing: of permissions and settings a family's own modules may."""
    return {
        (module.path, name)
        for module in everything
        for name in imported(module)
        if name.startswith(tuple(f"{package}." for package in LISTED[:4]))
    }


def test_the_roots_name_no_family() -> None:
    assert {module.path for module in modules(*OURS)} >= JOINED_IN
    assert named_by_roots(modules(*OURS)) == ROOTS_KNOW.keys()


def test_families_know_one_another_for_a_reason_only() -> None:
    assert across(modules(*OURS)) == ACROSS.keys()


def test_nobody_imports_what_is_found_by_listing() -> None:
    assert listed_by_name(modules(*OURS)) == set()


def test_such_imports_would_be_found() -> None:
    assert across([Module("models/tables/fleet/x.py", "from models.tables import identity")])
    assert across([Module("api/families/identity.py", "import api.routers.fleet.catalog")])
    assert not across([Module("api/routers/fleet/x.py", "from models.domain.identity.principal import Principal")])
    assert named_by_roots([Module("workers/registry.py", "from workers.families import fleet")])
    assert listed_by_name([Module("models/x.py", "from cli.commands.chat import chat")])


def test_every_family_is_one_of_those_named_here() -> None:
    """Else the rules above would not see it."""
    found = {family.name for family in workers_registry.FAMILIES} | {family.name for family in api_registry.FAMILIES}
    assert found == NAMES | {"spine"}


def test_sockets_are_apart_from_what_requests_are_compared_with() -> None:
    for family in api_registry.FAMILIES:
        routes = [route for routers in family.routers.values() for router in routers for route in router.routes]
        assert [route for route in routes if isinstance(route, WebSocketRoute)] == []
        of_sockets = [route for router in family.sockets for route in router.routes]
        assert [route for route in of_sockets if not isinstance(route, WebSocketRoute)] == []


def test_no_two_families_serve_one_queue() -> None:
    """Slots are a queue's: what hangs in one family must not take those of another. The spine is where its runs of before are."""
    served = [name for family in workers_registry.FAMILIES if family.name != "spine" for name in family.queues]
    assert len(served) == len(set(served))
    owned = [(kind.queue, family.name) for family in workers_registry.FAMILIES for kind in family.owners]
    assert [kind for kind in owned if kind[0] not in served] == []


@pytest.mark.parametrize("kinds", [workers_registry.OWNER_KINDS, api_registry.OWNER_KINDS], ids=["workers", "api"])
def test_all_know_the_same_owners(kinds: OwnerKinds) -> None:
    """What delivers, what cancels, and what `migrate` allows the operations of."""
    assert set(kinds) == set(owner_kinds())
