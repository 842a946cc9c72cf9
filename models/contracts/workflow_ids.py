"""Workflow ids are business keys: a builder and its inverse for every process (DESIGN 4). Those of owners: `OwnerKind`."""

_RECONCILE = "reconcile/"
SWEEPER = "sweeper"
SAMPLES = "samples"
SCHEDULES = "schedules"


def reconcile_workflow_id(provider_queue: str) -> str:
    return f"{_RECONCILE}{provider_queue}"


def parse_reconcile_workflow_id(workflow_id: str) -> str | None:
    """The queue of the provider whose machines are compared; None for the id of another process."""
    return workflow_id.removeprefix(_RECONCILE) or None if workflow_id.startswith(_RECONCILE) else None
