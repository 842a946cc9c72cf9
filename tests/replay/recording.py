"""For the tests that drive real workflows: keep the history of a scenario once, when asked to.

    RECORD_HISTORIES=1 make test          (or one test file: pytest tests/workflow/fleet/test_instances.py)

Without the variable nothing is written; with it, what is already recorded stays as it is.

Some scenarios are kept a second time as the server has them, sealed under `tests.servers.TEST_CODEC_KEY`, which seals
nothing but what tests write: so the codec is held to what it wrote before. No failure belongs into such a scenario: its stack
trace would name this machine.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from temporalio.client import WorkflowHandle
from temporalio.converter import PayloadCodec

from workers import record

SWITCH = "RECORD_HISTORIES"
SEALED: Final = Path(__file__).parent / "sealed"
KEPT_SEALED: Final = {"ready-and-terminated", "reinstall", "healed", "one-silent"}


async def keep_history(handle: WorkflowHandle[Any, Any], scenario: str, codec: PayloadCodec | None) -> None:
    """Call at the end of the scenario, with the codec of the test's client: `client.data_converter.payload_codec`."""
    if os.environ.get(SWITCH):
        with suppress(record.AlreadyRecorded):
            await record.record(handle, scenario, codec)
        if scenario in KEPT_SEALED:
            with suppress(record.AlreadyRecorded):
                await record.record(handle, scenario, None, SEALED)
