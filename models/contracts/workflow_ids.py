"""Workflow ids are business keys: a builder and its inverse for every process (DESIGN 4)."""

from uuid import UUID

_INSTANCE = "instance/"
SWEEPER = "sweeper"
SAMPLES = "samples"


def instance_workflow_id(instance_id: UUID) -> str:
    return f"{_INSTANCE}{instance_id}"


def parse_instance_workflow_id(workflow_id: str) -> UUID | None:
    """The instance behind an owner's workflow id; None for the id of another process."""
    if not workflow_id.startswith(_INSTANCE):
        return None
    try:
        return UUID(workflow_id.removeprefix(_INSTANCE))
    except ValueError:
        return None
