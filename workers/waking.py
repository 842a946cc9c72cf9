"""Delivers messages of the outbox that are for a standing workflow: it is asked for a round."""

from collections.abc import Iterable

from temporalio.client import Client
from temporalio.service import RPCError

from delivery.outbox import OutboxDelivery
from models.base.errors import ServiceUnavailable
from models.contracts.outbox import OutboxMessage
from workers.family import StandingWorkflow
from workers.standing import start_standing


class StandingDelivery:
    """Those of `standing` that can be asked. What is for an owner goes on to `owners`."""

    def __init__(self, client: Client, standing: Iterable[StandingWorkflow], owners: OutboxDelivery) -> None:
        self._client, self._owners = client, owners
        self._standing = {one.id: one for one in standing if one.look is not None}

    async def deliver(self, message: OutboxMessage) -> None:
        """Returns once the workflow has the message; it is started where it does not run. Delivering it again costs a round.
        Raises ServiceUnavailable.
        """
        one = self._standing.get(message.workflow_id)
        if one is None or one.workflow != message.workflow:
            await self._owners.deliver(message)
            return
        try:
            await start_standing(self._client, one, asks=True)
        except (RPCError, RuntimeError) as error:
            raise ServiceUnavailable(
                "the workflow engine does not take the message", code="TEMPORAL_UNAVAILABLE", retry_after_s=1.0
            ) from error
