"""Handing an outbox message to its workflow: by start or signal-with-start, as often as it takes (DESIGN rule 4)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from temporalio.common import TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from models.base.errors import ServiceUnavailable
from models.contracts.instances import Command, InstanceInput, Observed
from models.contracts.outbox import DeliveryKind, OutboxMessage
from models.contracts.search_attributes import search_attributes
from models.contracts.task_queues import TaskQueue

if TYPE_CHECKING:
    from temporalio.client import Client

RPC_TIMEOUT = timedelta(seconds=5)
OWNER_TASK_TIMEOUT = timedelta(seconds=5)
"""Workflow task time-out of an owner: a killed worker's task is given to another one after so long."""


class OutboxDelivery:
    """Delivers messages to the owners of instances. Raises ServiceUnavailable while Temporal cannot take them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def deliver(self, message: OutboxMessage) -> None:
        """Returns once the workflow has the message. Delivering it again changes nothing: owners know what they heard."""
        instance_id = UUID(str(message.payload["instance_id"]))
        try:
            match message.kind:
                case DeliveryKind.START:
                    await self._start(message, instance_id)
                case DeliveryKind.COMMAND:
                    command = Command(operation_id=UUID(str(message.payload["operation_id"])))
                    await self._signal(message, instance_id, "command", command)
                case DeliveryKind.OBSERVED:
                    observed = Observed.model_validate(
                        {name: message.payload.get(name) for name in ("edge", "boot_id", "generation")}
                    )
                    await self._signal(message, instance_id, "observed", observed)
        except (RPCError, RuntimeError) as error:
            raise _unavailable(error) from error

    async def restart_owner(self, instance_id: UUID, organization_id: UUID) -> bool:
        """Start an owner that is missing. False when it was there all along. The owner reads the row before it acts."""
        try:
            await self._client.start_workflow(
                "Instance",
                InstanceInput(instance_id=instance_id, organization_id=organization_id),
                id=f"instance/{instance_id}",
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                task_queue=TaskQueue.ORCHESTRATION,
                task_timeout=OWNER_TASK_TIMEOUT,
                rpc_timeout=RPC_TIMEOUT,
                search_attributes=_attributes(instance_id, organization_id),
                static_summary="restarted by the sweeper",
            )
        except WorkflowAlreadyStartedError:
            return False
        except (RPCError, RuntimeError) as error:
            raise _unavailable(error) from error
        return True

    async def _start(self, message: OutboxMessage, instance_id: UUID) -> None:
        try:
            await self._client.start_workflow(
                message.workflow,
                InstanceInput(instance_id=instance_id, organization_id=message.organization_id),
                id=message.workflow_id,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                task_queue=TaskQueue.ORCHESTRATION,
                task_timeout=OWNER_TASK_TIMEOUT,
                rpc_timeout=RPC_TIMEOUT,
                search_attributes=_attributes(instance_id, message.organization_id),
                static_summary=f"instance {instance_id}",
            )
        except WorkflowAlreadyStartedError:
            return  # an earlier delivery of this message got through

    async def _signal(
        self, message: OutboxMessage, instance_id: UUID, signal: str, argument: Command | Observed
    ) -> None:
        """To the open owner, or to a new one: an owner that ended in Temporal is started again, and reads its row first."""
        await self._client.start_workflow(
            message.workflow,
            InstanceInput(instance_id=instance_id, organization_id=message.organization_id),
            id=message.workflow_id,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            task_queue=TaskQueue.ORCHESTRATION,
            task_timeout=OWNER_TASK_TIMEOUT,
            rpc_timeout=RPC_TIMEOUT,
            search_attributes=_attributes(instance_id, message.organization_id),
            static_summary=f"instance {instance_id}",
            start_signal=signal,
            start_signal_args=[argument],
        )


def _attributes(instance_id: UUID, organization_id: UUID) -> TypedSearchAttributes:
    return search_attributes(
        resource_kind="instance", resource_id=str(instance_id), surface="fleet", org_id=organization_id
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
