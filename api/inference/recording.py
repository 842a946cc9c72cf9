"""The journal into the database, a batch at a time, and the journals of processes that died.

Nothing waits in memory: what is not in the database yet is on disk, however long the database is away. A record may be written
twice (a crash between commit and truncation); the table keeps one of each id.
"""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from api.inference.metering import Meter, interrupted
from models.base.errors import ServiceUnavailable
from models.domain.inference.journal_lines import Line, LineKind
from models.repositories.database import Database
from models.repositories.inference import records as inference_records
from models.repositories.inference.journal import JournalReader, Orphan, orphans

logger = logging.getLogger(__name__)

BATCH = 500
LINES_AT_ONCE = 1_500
FLUSH_INTERVAL_S = 0.5
ADOPT_INTERVAL_S = 10.0
PURGE_INTERVAL_S = 3600.0
BACKOFF_S = (0.5, 1.0, 2.0, 5.0)
CLOSE_TIMEOUT_S = 3.0


class Recorder:
    """Runs for as long as the process; `flush` writes what is closed by now."""

    def __init__(self, database: Database, folder: Path, own_journal: Path, meter: Meter) -> None:
        self._database = database
        self._folder = folder
        self._reader = JournalReader(own_journal)
        self._meter = meter
        self._adopted_at_s = self._purged_at_s = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="inference-records")

    async def close(self) -> bool:
        """Write what can be written in a few seconds. False if something is left: it is on disk for the next process."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.flush()
        except (ServiceUnavailable, SQLAlchemyError, OSError):
            return False
        return True

    async def flush(self, *, least: int = 1) -> None:
        """Write batches for as long as there are at least so many records for one: to the end, or without haste.

        Raises ServiceUnavailable while the database is away; then nothing of the journal is given up.
        """
        self._meter.write_what_waits()
        while await self._write_round() >= least:
            continue

    async def adopt(self) -> None:
        """Bring in the journals that lost their owner: what was closed as it is, what was open as interrupted."""
        for orphan in orphans(self._folder):
            try:
                await self._bring_in(orphan)
            except BaseException:
                orphan.release()
                raise
            orphan.remove()

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._round()
                failures = 0
            except (ServiceUnavailable, SQLAlchemyError, OSError) as error:
                failures += 1
                logger.warning("inference records wait on disk (%s)", getattr(error, "code", type(error).__name__))
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S)) - 1] if failures else FLUSH_INTERVAL_S)

    async def _round(self) -> None:
        await self.flush(least=BATCH)  # under load there is always one more: they would be written one by one
        now_s = time.monotonic()
        if now_s - self._adopted_at_s >= ADOPT_INTERVAL_S:
            await self.adopt()
            self._adopted_at_s = now_s
        if now_s - self._purged_at_s >= PURGE_INTERVAL_S:
            async with self._database.system() as session:
                await inference_records.purge_results(session)
            self._purged_at_s = now_s

    async def _write_round(self) -> int:
        """One batch of the own journal; how many records it had."""
        lines, position = self._reader.lines(BATCH, LineKind.CLOSED)
        if lines:
            await self._write([line.json for line in lines])
        self._reader.advance(position)
        return len(lines)

    async def _bring_in(self, orphan: Orphan) -> None:
        reader = JournalReader(orphan.folder)
        opened: dict[str, dict[str, Any]] = {}
        progress: dict[str, dict[str, Any]] = {}
        while True:
            lines, position = reader.lines(LINES_AT_ONCE)
            if not lines:
                break
            await self._write_closed(lines)
            _follow(lines, opened, progress)
            reader.position = position
            await asyncio.sleep(0)
        cut_short = [interrupted(fields, progress.get(record_id, {})) for record_id, fields in opened.items()]
        for batch in _batches(cut_short):
            await self._write(batch)
        if cut_short:
            logger.warning(
                "%d requests were cut short by the end of their process; recorded as estimated", len(cut_short)
            )

    async def _write_closed(self, lines: list[Line]) -> None:
        for batch in _batches([line.json for line in lines if line.kind is LineKind.CLOSED]):
            await self._write(batch)

    async def _write(self, records: list[bytes]) -> None:
        """All of them, or those of them that the database can take: one that it never will must not hold up the others."""
        try:
            async with self._database.system() as session:
                unattributable = await inference_records.record(session, records)
        except (DataError, IntegrityError) as error:
            if len(records) == 1:
                logger.error("an inference record was refused and left out (%s)", type(error).__name__)  # noqa: TRY400
                return
            middle = len(records) // 2
            await self._write(records[:middle])
            await self._write(records[middle:])
            return
        if unattributable:
            logger.error("%d inference records name an organization or user that does not exist", unattributable)


def _follow(lines: list[Line], opened: dict[str, dict[str, Any]], progress: dict[str, dict[str, Any]]) -> None:
    """Keep track of what is open: memory for requests in flight when the process died, not for the whole journal."""
    for line in lines:
        fields = orjson.loads(line.json)
        record_id = fields["id"]
        if line.kind is LineKind.OPENED:
            opened[record_id] = fields
        elif line.kind is LineKind.PROGRESS:
            progress[record_id] = fields
        else:
            opened.pop(record_id, None)
            progress.pop(record_id, None)


def _batches(records: list[bytes]) -> Iterator[list[bytes]]:
    return (records[start : start + BATCH] for start in range(0, len(records), BATCH))
