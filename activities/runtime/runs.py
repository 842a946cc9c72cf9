"""What the codec has to know of runs before it opens what is older than the binding of payloads to their place."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.runtime.codec import Place

REMEMBERED_S: Final = 30.0
"""How long an answer about a workflow id is used: the replay of a long history asks once, and not for every payload."""

REMEMBERED_RUNS: Final = 1_000


class RunsOfServer:
    """`sealed_since`: from when on this installation has bound payloads to their place. It comes from our own database: what
    Temporal keeps, whoever reaches Temporal can write.
    """

    def __init__(self, client: Client, sealed_since: datetime) -> None:
        self._client, self._sealed_since = client, sealed_since
        self._answers: dict[str, tuple[float, bool]] = {}

    async def is_open_since_before_sealing(self, place: Place) -> bool:
        """Raises RPCError while the server does not say."""
        if place.namespace != self._client.namespace:
            return False
        at, answer = self._answers.get(place.workflow_id, (0.0, False))
        if at < time.monotonic() - REMEMBERED_S or not at:
            answer = await self._ask(place.workflow_id)
            if len(self._answers) >= REMEMBERED_RUNS:
                self._answers.clear()
            self._answers[place.workflow_id] = (time.monotonic(), answer)
        return answer

    async def start_of(self, place: Place) -> Sequence[Payload]:
        """Raises RPCError while the server does not say."""
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
        [*events] = answer.history.events[:1]
        return events[0].workflow_execution_started_event_attributes.input.payloads if events else ()

    async def _ask(self, workflow_id: str) -> bool:
        try:
            run = await self._client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return run.status is WorkflowExecutionStatus.RUNNING and run.start_time < self._sealed_since
