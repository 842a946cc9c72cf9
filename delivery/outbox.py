"""Handing an outbox message to its workflow: by start or signal-with-start, as often as it takes (DESIGN rule 4)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from models.base.errors import ServiceUnavailable
from models.contracts.operations import Reread
from models.contracts.outbox import DeliveryKind, OutboxMessage
from models.contracts.owner_kinds import OwnerKind, OwnerKinds
from models.contracts.search_attributes import search_attributes

if TYPE_CHECKING:
    from pydantic import BaseModel
    from temporalio.client import Client

RPC_TIMEOUT = timedelta(seconds=5)
OWNER_TASK_TIMEOUT = timedelta(seconds=5)
"""Workflow task time-out of an owner: a killed worker's task is given to another one after so long, so it must stay below the
15 s in which an instance has to go on after a crash."""


@dataclass(frozen=True)
class _Owner:
    """Whose workflow is begun, and what an operator is to see of it in the Temporal UI."""

    kind: OwnerKind
    resource_id: UUID
    organization_id: UUID
    provider_code: str | None
    remark: str = ""

    @property
    def workflow_id(self) -> str:
        return self.kind.workflow_id(self.resource_id)

    @property
    def summary(self) -> str:
        return f"{self.kind.noun} {self.resource_id}{self.remark}"


class OutboxDelivery:
    """Delivers messages to the owners of these kinds. Raises ServiceUnavailable while Temporal cannot take them, and for an owner
    that this process does not know: another one may.

    `api_url` is where people reach the API: every owner's memo links to its resource there.
    """

    def __init__(self, client: Client, kinds: OwnerKinds, *, api_url: str) -> None:
        self._client, self._kinds, self._api_url = client, kinds, api_url.rstrip("/")

    async def deliver(self, message: OutboxMessage) -> None:
        """Returns once the workflow has the message. Delivering it again changes nothing: the row says what is open."""
        owner = self._owner_of(message)
        try:
            if message.kind is DeliveryKind.START:
                with suppress(WorkflowAlreadyStartedError):  # an earlier delivery of this message got through
                    await self._begin(owner, WorkflowIDReusePolicy.REJECT_DUPLICATE)
            else:
                signal = owner.kind.signals[message.kind]
                await self._signal(owner, signal.name, signal.of(message.payload))
        except (RPCError, RuntimeError) as error:
            raise _unavailable(error) from error

    def _owner_of(self, message: OutboxMessage) -> _Owner:
        """The workflow's id says whose it is, of which sort and which one; a message that says otherwise reaches nobody."""
        owned = self._kinds.owning(message.workflow_id)
        if owned is None or owned[0].workflow != message.workflow:
            raise ServiceUnavailable(
                "this process does not know whom the message is for",
                code="OWNER_UNKNOWN",
                details={"workflow": message.workflow},
            )
        kind, resource_id = owned
        return _Owner(kind, resource_id, message.organization_id, message.provider_code)

    async def restart_owner(
        self, kind: OwnerKind, resource_id: UUID, organization_id: UUID, *, provider_code: str | None
    ) -> bool:
        """Start an owner that is missing. False when it was there all along. The owner reads the row before it acts."""
        owner = _Owner(kind, resource_id, organization_id, provider_code, ", restarted by the sweeper")
        try:
            await self._begin(owner, WorkflowIDReusePolicy.ALLOW_DUPLICATE)
        except WorkflowAlreadyStartedError:
            return False
        except (RPCError, RuntimeError) as error:
            raise _unavailable(error) from error
        return True

    async def have_reread(self, kind: OwnerKind, resource_id: UUID) -> bool:
        """Have an owner read its row again. False for one that does not run."""
        handle = self._client.get_workflow_handle(kind.workflow_id(resource_id))
        try:
            await handle.signal("reread", Reread(), rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise _unavailable(error) from error
        except RuntimeError as error:
            raise _unavailable(error) from error
        return True

    async def _signal(self, owner: _Owner, signal: str, argument: BaseModel) -> None:
        """To the open owner, or to a new one: an owner that ended in Temporal is started again, and reads its row first."""
        await self._begin(owner, WorkflowIDReusePolicy.ALLOW_DUPLICATE, signal, argument)

    async def _begin(
        self,
        owner: _Owner,
        reuse: WorkflowIDReusePolicy,
        signal: str | None = None,
        argument: BaseModel | None = None,
    ) -> None:
        kind, link = owner.kind, self._api_url + owner.kind.path_of(owner.resource_id)
        await self._client.start_workflow(
            kind.workflow,
            kind.start(owner.resource_id, owner.organization_id),
            id=owner.workflow_id,
            id_reuse_policy=reuse,
            task_queue=kind.queue,
            task_timeout=OWNER_TASK_TIMEOUT,
            rpc_timeout=RPC_TIMEOUT,
            search_attributes=search_attributes(
                resource_kind=kind.resource_kind,
                resource_id=str(owner.resource_id),
                surface=kind.surface,
                org_id=owner.organization_id,
                provider=owner.provider_code,
            ),
            memo={"api": link},
            static_summary=owner.summary,
            static_details=f"[The {kind.noun} in the API]({link})",
            start_signal=signal,
            start_signal_args=[] if argument is None else [argument],
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
