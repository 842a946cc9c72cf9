"""How far this start of the agent has come. Each phase is reported once, in order, as soon as it is entered."""

import asyncio
from contextlib import suppress
from enum import StrEnum


class Phase(StrEnum):
    PREPARING = "preparing"
    LOADING_MODEL = "loading_model"
    WARMING_UP = "warming_up"
    SERVING = "serving"


class Phases:
    def __init__(self) -> None:
        self.current = Phase.PREPARING
        self._unreported = [Phase.PREPARING]
        self._entered = asyncio.Event()
        self._entered.set()

    def enter(self, phase: Phase) -> None:
        self.current = phase
        self._unreported.append(phase)
        self._entered.set()

    def next_report(self) -> Phase:
        """The oldest phase not yet reported, the current one when all were. Call `reported` once it has arrived."""
        return self._unreported[0] if self._unreported else self.current

    def reported(self) -> None:
        del self._unreported[:1]
        if not self._unreported:
            self._entered.clear()

    def report_failed(self) -> None:
        """History is of no interest after an outage: only the current phase remains to be told."""
        self._unreported = [self.current]

    async def wait_entered(self, timeout_s: float) -> None:
        """Returns when there is a phase to report, at the latest after `timeout_s`."""
        # Not `wait_for`: before Python 3.12 it loses a cancellation that arrives together with the event.
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._entered.wait()
