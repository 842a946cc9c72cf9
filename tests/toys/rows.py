"""Toys in the database: how they are read, and what is asked of them."""

from collections.abc import Sequence
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import Conflict, NotFound
from models.contracts.outbox import DeliveryKind
from models.domain.identity.principal import Principal
from models.domain.schedules import every
from models.repositories import schedules
from models.repositories.asking import Asked, ask
from models.repositories.transaction_time import began_at
from tests.toys.contracts import BREAK, MAKE, TICKING, TOY, Phase
from tests.toys.table import Toy


async def get(session: AsyncSession, toy_id: UUID) -> Toy:
    row = (await session.exec(select(Toy).where(Toy.id == toy_id))).one_or_none()
    if row is None:
        raise NotFound("your organization has no such toy", code="TOY_NOT_FOUND")
    return row


async def page(session: AsyncSession) -> Sequence[Toy]:
    return (await session.exec(select(Toy).order_by(col(Toy.id)))).all()


async def order(session: AsyncSession, principal: Principal, name: str) -> Asked:
    toy = Toy(organization_id=principal.organization_id, name=name, created_at=await began_at(session))
    await schedules.put(session, TICKING, toy.id, principal.organization_id, every(60))
    return await ask(
        session, principal, TOY, toy.id, MAKE, action_type="MAKE", before=None, after="ordered",
        delivery=DeliveryKind.START, with_rows=[toy],
    )  # fmt: skip


async def tick(session: AsyncSession, principal: Principal, toy_id: UUID) -> Asked:
    return await schedules.run_now(session, principal, TICKING, toy_id, status=(await get(session, toy_id)).status)


async def end(session: AsyncSession, principal: Principal, toy_id: UUID) -> Asked:
    status = (await get(session, toy_id)).status
    if status is Phase.BROKEN:
        raise Conflict("it is broken", code="TOY_BROKEN")
    return await ask(session, principal, TOY, toy_id, BREAK, action_type="BREAK", before=status, after=status)
