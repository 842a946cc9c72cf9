"""A workflow that tells where it runs and tries what no workflow may."""

import random
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel
from temporalio import workflow
from temporalio.worker.workflow_sandbox import RestrictedWorkflowAccessError

LOADED = object()
"""Another one each time that this module is loaded."""

FORBIDDEN: dict[str, Callable[[], object]] = {
    "clock": lambda: datetime.now(UTC),
    "time": time.time,
    "random": random.random,
    "uuid": uuid.uuid4,
    "file": lambda: open(__file__),  # noqa: PTH123, SIM115 (what the sandbox is asked about)
    "path": lambda: Path(__file__).read_text(),
}


class Tried(BaseModel):
    rounds: int = 1


class Refused(BaseModel):
    loaded: int
    """Which load of this module the run was executed in."""
    let_through: list[str]


@workflow.defn(name="Sandboxed")
class Sandboxed:
    @workflow.init
    def __init__(self, _tried: Tried) -> None:
        self._go = False

    @workflow.run
    async def run(self, tried: Tried) -> Refused:
        let_through: list[str] = []
        for _ in range(tried.rounds):
            let_through += [name for name, attempt in FORBIDDEN.items() if not _is_refused(attempt)]
        await workflow.wait_condition(lambda: self._go)
        let_through += [name for name, attempt in FORBIDDEN.items() if not _is_refused(attempt)]
        return Refused(loaded=id(LOADED), let_through=let_through)

    @workflow.signal
    def go(self, _tried: Tried) -> None:
        self._go = True


def _is_refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except RestrictedWorkflowAccessError:
        return True
    return False
