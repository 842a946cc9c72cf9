"""Handing an outbox message to its workflow: by start or signal-with-start, as often as it takes (DESIGN rule 4)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from models.base.errors import ServiceUnavailable
from models.contracts.instances import Command, InstanceInput, Observed
from models.contracts.outbox import DeliveryKind, OutboxMessage
from models.contracts.search_attributes import search_attributes
from models.contracts.task_queues import TaskQueue
from models.contracts.workflow_ids import instance_workflow_id

if TYPE_CHECKING:
    from temporalio.client import Client

RPC_TIMEOUT = timedelta(seconds=5)
OWNER_TASK_TIMEOUT = timedelta(seconds=5)
"""Workflow task time-out of an owner: a killed worker's task is given to another one after so long, so it must stay below the
15 s in which an instance has to go on after a crash."""


@dataclass(frozen=True)
class _Owner:
    """Whose workflow is begun, and what an operator is to see of it in the Temporal UI."""

    workflow: str
    workflow_id: str
    instance_id: UUID
    organization_id: UUID
    provider_code: str | None
    summary: str


class OutboxDelivery:
    """Delivers messages to the owners of instances. Raises ServiceUnavailable while Temporal cannot take them.

    `api_url` is where people reach the API: every owner's memo links to its instance there.
    """

    def __init__(self, client: Client, *, api_url: str) -> None:
        self._client, self._api_url = client, api_url.rstrip("/")

    async def deliver(self, message: OutboxMessage) -> None:
        """Returns once the workflow has the message. Delivering it again changes nothing: owners know what they heard."""
        instance_id = UUID(str(message.payload["instance_id"]))
        owner = _Owner(
            message.workflow,
            message.workflow_id,
            instance_id,
            message.organization_id,
            message.provider_code,
            f"instance {instance_id}",
        )
        try:
            match message.kind:
                case DeliveryKind.START:
                    with suppress(WorkflowAlreadyStartedError):  # an earlier delivery of this message got through
                        await self._begin(owner, WorkflowIDReusePolicy.REJECT_DUPLICATE)
                case DeliveryKind.COMMAND:
                    command = Command(operation_id=UUID(str(message.payload["operation_id"])))
                    await self._signal(owner, "command", command)
                case DeliveryKind.OBSERVED:
                    observed = Observed.model_validate(
                        {name: message.payload.get(name) for name in ("edge", "boot_id", "generation")}
                    )
                    await self._signal(owner, "observed", observed)
        except (RPCError, RuntimeError) as error:
            raise _unavailable(error) from error

    async def restart_owner(self, instance_id: UUID, organization_id: UUID, *, provider_code: str) -> bool:
        """Start an owner that is missing. False when it was there all along. The owner reads the row before it acts."""
        owner = _Owner(
            "Instance",
            instance_workflow_id(instance_id),
            instance_id,
            organization_id,
            provider_code,
            f"instance {instance_id}, restarted by the sweeper",
        )
        try:
            await self._begin(owner, WorkflowIDReusePolicy.ALLOW_DUPLICATE)
        except WorkflowAlreadyStartedError:
            return False
        except (RPCError, RuntimeError) as error:
            raise _unavailable(error) from error
        return True

    async def _signal(self, owner: _Owner, signal: str, argument: Command | Observed) -> None:
        """To the open owner, or to a new one: an owner that ended in Temporal is started again, and reads its row first."""
        await self._begin(owner, WorkflowIDReusePolicy.ALLOW_DUPLICATE, signal, [argument])

    async def _begin(
        self,
        owner: _Owner,
        reuse: WorkflowIDReusePolicy,
        signal: str | None = None,
        signal_arguments: Sequence[Command | Observed] = (),
    ) -> None:
        link = f"{self._api_url}/instances/{owner.instance_id}"
        await self._client.start_workflow(
            owner.workflow,
            InstanceInput(instance_id=owner.instance_id, organization_id=owner.organization_id),
            id=owner.workflow_id,
            id_reuse_policy=reuse,
            task_queue=TaskQueue.ORCHESTRATION,
            task_timeout=OWNER_TASK_TIMEOUT,
            rpc_timeout=RPC_TIMEOUT,
            search_attributes=search_attributes(
                resource_kind="instance",
                resource_id=str(owner.instance_id),
                surface="fleet",
                org_id=owner.organization_id,
                provider=owner.provider_code,
            ),
            memo={"api": link},
            static_summary=owner.summary,
            static_details=f"[The instance in the API]({link})",
            start_signal=signal,
            start_signal_args=signal_arguments,
        )


def _unavailable(error: RPCError | RuntimeError) -> ServiceUnavailable:
    """The SDK raises RuntimeError, not RPCError, while a lazily connected client has never reached its server."""
    status = error.status.name if isinstance(error, RPCError) else "NOT_CONNECTED"
    return ServiceUnavailable(
        "the workflow engine does not take the message",
        code="TEMPORAL_UNAVAILABLE",
        details={"status": status},
        retry_after_s=1.0,
    )
