"""For the tests that drive real workflows: keep the history of a scenario once, when asked to.

    RECORD_HISTORIES=1 make test          (or one test file: pytest tests/workflow/test_instances.py)

Without the variable nothing is written; with it, what is already recorded stays as it is.
"""

import os
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.converter import PayloadCodec

from workers import record

SWITCH = "RECORD_HISTORIES"


async def keep_history(handle: WorkflowHandle[Any, Any], scenario: str, codec: PayloadCodec | None) -> None:
    """Call at the end of the scenario, with the codec of the test's client: `client.data_converter.payload_codec`."""
    if os.environ.get(SWITCH):
        try:
            await record.record(handle, scenario, codec)
        except record.AlreadyRecorded:
            return
