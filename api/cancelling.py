"""Giving an operation up, as whoever owns what it is on has it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import Conflict
from models.contracts.outbox import OutboxMessage
from models.contracts.owner_kinds import OwnerKinds
from models.domain.identity.principal import Principal
from models.domain.operations import OPEN, OperationStatus
from models.repositories import giving_up, operations


class GivenUp(Protocol):
    @property
    def message(self) -> OutboxMessage | None:
        """What the owner must hear; None where nothing is left to do."""


CancelHandler = Callable[[AsyncSession, Principal, UUID], Awaitable[GivenUp]]
"""Gives the operation of this id up, which is on a resource of the handler's kind. Raises Conflict for one that is over, or that
cannot be taken back.
"""


async def give_up(
    session: AsyncSession,
    principal: Principal,
    operation_id: UUID,
    handlers: Mapping[str, CancelHandler],
    kinds: OwnerKinds,
) -> OutboxMessage | None:
    """By the handler of the kind of resource; while a person is asked, by the spine: nothing is done to the resource before it is
    approved. Raises NotFound; Conflict, also for a kind of resource that has none.
    """
    operation = await operations.get(session, operation_id)
    if operation.status is OperationStatus.WAITING_APPROVAL:
        return await giving_up.give_up_unapproved(session, principal, kinds, operation_id)
    handler = handlers.get(operation.resource_kind)
    if handler is None:
        raise Conflict("an operation of this kind cannot be taken back", code="OPERATION_NOT_CANCELLABLE")
    if operation.status not in OPEN:
        raise Conflict(f"the operation is {operation.status.value} already", code="OPERATION_FINISHED")
    return (await handler(session, principal, operation_id)).message
