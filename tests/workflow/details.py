"""What a workflow's page in the Temporal UI says of it now."""

from typing import Any

from temporalio.client import WorkflowHandle


async def current_details(handle: WorkflowHandle[Any, Any]) -> str:
    metadata: Any = await handle.query("__temporal_workflow_metadata")
    text: str = metadata["currentDetails"] if isinstance(metadata, dict) else metadata.current_details
    return text
