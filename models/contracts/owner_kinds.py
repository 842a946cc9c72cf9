"""Owner kinds: what everybody else has to know of a long-lived thing, and of the workflow that owns it (DESIGN rule 3).

A family lists its kinds; the composition roots join the lists and hand the look-up to whoever delivers, sweeps, links or cancels.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

from pydantic import BaseModel

from models.contracts.outbox import DeliveryKind


@dataclass(frozen=True)
class Signal:
    """How a message of the outbox reaches its owner. The argument has its fields from the message's payload, by their names."""

    name: str
    argument: type[BaseModel]

    def of(self, payload: Mapping[str, object]) -> BaseModel:
        """Raises ValueError for a payload that lacks something."""
        return self.argument.model_validate(payload)


@dataclass(frozen=True, kw_only=True)
class OwnedRows:
    """What is asked about the rows of a kind: statements, with `values` for parameters of their own.

    `unfinished` answers with `resource_id, organization_id, provider_code` of every row that needs an owner and is older than
    `:older_than_s`; `without_need` with the `resource_id` of those of `:ids` that need none: there is no such row, or it is over
    since `:settled_s`; `kept_open` with the `resource_id` of those of `:ids` that are not over, and none of them is over before
    the transaction ends. They see the rows of all organizations, so that they call functions of the database.

    `blocking` answers with the `resource_id` of every row for which its organization cannot be removed yet, in a transaction of
    that organization (contract decision 18).
    """

    unfinished: str
    without_need: str
    kept_open: str
    blocking: str
    values: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of_table(cls, table: str, *, final: Iterable[str]) -> Self:
        """For a table with the columns `id, organization_id, status, created_at, ended_at`: a row needs its owner until its
        status is one of `final`, which it is since `ended_at`.
        """
        return cls(
            unfinished=(
                "SELECT resource_id, organization_id, NULL AS provider_code FROM unfinished_rows(:table, :final, :older_than_s)"
            ),
            without_need="SELECT resource_id FROM rows_without_need(:table, :final, :ids, :settled_s)",
            kept_open="SELECT resource_id FROM keep_rows_open(:table, :final, :ids)",
            blocking=f'SELECT id AS resource_id FROM "{table}" WHERE status::text <> ALL (CAST(:final AS text[]))',  # noqa: S608  (a constant of code)
            values={"table": table, "final": [*final]},
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnerKind:
    """`path` is where the API shows a resource, with `{id}` in it; `noun` is what people call it in the Temporal UI.

    Every owner hears the signal `reread` beside those of `signals`, and its activities name their resource by `id_field` of their
    argument. `operations` are the kinds of operations that there are on such a resource.
    """

    resource_kind: str
    noun: str
    workflow: str
    id_prefix: str
    queue: str
    surface: str
    path: str
    start: Callable[[UUID, UUID], BaseModel]
    """The workflow's input, from the ids of the resource and its organization."""
    signals: Mapping[DeliveryKind, Signal]
    operations: frozenset[str]
    rows: OwnedRows
    id_field: str = "resource_id"

    def workflow_id(self, resource_id: UUID) -> str:
        return f"{self.id_prefix}{resource_id}"

    def resource_of(self, workflow_id: str) -> UUID | None:
        """The inverse; None for any other id, also for another spelling of one of ours: that would be another workflow."""
        try:
            resource_id = UUID(workflow_id.removeprefix(self.id_prefix))
        except ValueError:
            return None
        return resource_id if self.workflow_id(resource_id) == workflow_id else None

    @property
    def topic(self) -> str:
        """By which people follow what becomes of resources of this kind: they are told `updated`."""
        return f"{self.resource_kind}s"

    @property
    def updated(self) -> str:
        return f"{self.resource_kind}.updated"

    @property
    def ids_field(self) -> str:
        """Where an event about something else names the resources that it concerns."""
        return f"{self.resource_kind}_ids"

    def path_of(self, resource_id: UUID) -> str:
        return self.path.format(id=resource_id)

    def ended_by(self, resource_id: UUID) -> str:
        """The command that ends a resource, as a request of the API."""
        return f"DELETE {self.path_of(resource_id)}"


_STREAMS_OF_OTHERS = frozenset({"organization", "operation"})


class OwnerKinds:
    """Every kind that this process knows. Raises ValueError where two of them could be taken for each other."""

    def __init__(self, kinds: Iterable[OwnerKind]) -> None:
        self._kinds = tuple(kinds)
        self._by_resource = {kind.resource_kind: kind for kind in self._kinds}
        for unique in ("resource_kind", "workflow", "id_prefix"):
            values = [getattr(kind, unique) for kind in self._kinds]
            if len(set(values)) != len(values):
                raise ValueError(f"two owner kinds have one {unique}: {sorted(values)}")
        taken = _STREAMS_OF_OTHERS & self._by_resource.keys()
        if taken:
            raise ValueError(f"events of others go by the name {sorted(taken)}")
        operations = [operation for kind in self._kinds for operation in kind.operations]
        self.operations = frozenset(operations)
        """The kinds of operations that there are."""
        if len(self.operations) != len(operations):
            raise ValueError(f"two owner kinds have one kind of operation: {sorted(operations)}")

    def __iter__(self) -> Iterator[OwnerKind]:
        return iter(self._kinds)

    def of(self, resource_kind: str) -> OwnerKind | None:
        return self._by_resource.get(resource_kind)

    def owning(self, workflow_id: str) -> tuple[OwnerKind, UUID] | None:
        """The kind and the id of the resource whose owner has this workflow id."""
        for kind in self._kinds:
            resource_id = kind.resource_of(workflow_id)
            if resource_id is not None:
                return kind, resource_id
        return None
