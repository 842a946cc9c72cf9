"""What the codec has to know of runs before it opens what is older than the binding of payloads to their place."""

from collections.abc import Sequence
from datetime import datetime

from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.runtime.codec import EncryptionCodec, Place


def know_runs(client: Client, sealed_since: datetime) -> None:
    """The client's codec asks the client's server about runs from now on."""
    codec = client.data_converter.payload_codec
    if isinstance(codec, EncryptionCodec):
        codec.ask_of_runs(RunsOfServer(client, sealed_since))


class RunsOfServer:
    """`sealed_since`: from when on this installation has bound payloads to their place. It comes from our own database: what
    Temporal keeps, whoever reaches Temporal can write.
    """

    def __init__(self, client: Client, sealed_since: datetime) -> None:
        self._client, self._sealed_since = client, sealed_since

    async def is_open_since_before_sealing(self, place: Place) -> bool:
        """Asked anew for every payload: the next run of the same id is another one. Raises RPCError while there is no answer."""
        if place.namespace != self._client.namespace:
            return False
        try:
            run = await self._client.get_workflow_handle(place.workflow_id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return run.status is WorkflowExecutionStatus.RUNNING and run.start_time < self._sealed_since

    async def start_of(self, place: Place) -> Sequence[Payload]:
        """Raises RPCError while there is no answer."""
        request = GetWorkflowExecutionHistoryRequest(
            namespace=self._client.namespace,
            execution=WorkflowExecution(workflow_id=place.workflow_id),
            maximum_page_size=1,
        )
        try:
            answer = await self._client.workflow_service.get_workflow_execution_history(request, retry=True)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return ()
            raise
        events = answer.history.events
        return events[0].workflow_execution_started_event_attributes.input.payloads if events else ()
