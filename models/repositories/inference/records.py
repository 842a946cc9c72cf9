"""Inference records into the database, many at a time; writing one again changes nothing."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

RECORD = text("SELECT record_inference(CAST(:records AS jsonb))")
PURGE_RESULTS = text("SELECT purge_inference_results()")


async def record(session: AsyncSession, records: Sequence[bytes]) -> int:
    """Insert JSON records. Returns how many name an organization or a user that does not exist and were left out."""
    result = await session.execute(RECORD, {"records": (b"[%b]" % b",".join(records)).decode()})
    unattributable: int = result.scalar_one()
    return unattributable


async def purge_results(session: AsyncSession) -> None:
    """Forget the kept answers that have expired, of every organization."""
    await session.execute(PURGE_RESULTS)
