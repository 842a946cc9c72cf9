"""Lines of a worker's log that somebody without a key can provoke, by what he sends to Temporal: a few of each kind a minute."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final

from temporalio.exceptions import ApplicationError

from activities import outside
from activities.runtime import callers, codec, refusal
from activities.runtime.line_limit import LineLimit, text_of

TELL_EVERY_S: Final = 10.0
NOT_REGISTERED: Final = "NotFoundError"
"""The SDK's type for a workflow or an activity that this worker does not have."""

PROVOKED: Final = frozenset({refusal.CODE, callers.CODE, NOT_REGISTERED})


def refusal_in(record: logging.LogRecord) -> str | None:
    """The kind of a line of the SDK's about something that was refused, whatever ids it names; None for every other failure."""
    failures = _chain(record.exc_info[1] if record.exc_info else None)
    types = (failure.type for failure in failures if isinstance(failure, ApplicationError))
    found = next((name for name in types if name in PROVOKED), None)
    return None if found is None else f"{record.name} met {found}"


def _chain(failure: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while failure is not None and id(failure) not in seen:
        seen.add(id(failure))
        yield failure
        failure = failure.__cause__ or failure.__context__


LIMITED: Final[dict[str, Callable[[logging.LogRecord], str | None]]] = {
    codec.__name__: text_of,
    callers.__name__: text_of,
    outside.__name__: text_of,  # provoked by nobody, and repeated with each call for as long as a proxy is away
    "temporalio.activity": refusal_in,
    "temporalio.worker._workflow": refusal_in,
    "temporalio.worker._workflow_instance": refusal_in,
}


@asynccontextmanager
async def few_provoked_lines(tell_every_s: float = TELL_EVERY_S) -> AsyncIterator[None]:
    """While entered, ten lines a minute and kind pass, then a line says how many more there were."""
    limits = [LineLimit(logging.getLogger(name), kind_of) for name, kind_of in LIMITED.items()]

    async def keep_telling() -> None:
        while True:
            await asyncio.sleep(tell_every_s)
            for limit in limits:
                limit.tell()

    for limit in limits:
        limit.begin()
    telling = asyncio.create_task(keep_telling(), name="provoked lines")
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        for limit in limits:
            limit.end()
