"""A Temporal namespace belongs to one installation: ids of workflows and names of task queues do not say whose they are, so two
installations in one namespace would take each other's commands.

The first worker writes the installation's id into the namespace's custom data; every other start compares. Temporal has no
conditional write for it: of two that start together for the first time, the second may overwrite what the first has written, so
both look again after `SETTLE_S`, and the one whose id is gone gives way.
"""

import asyncio
import logging
from uuid import UUID

from sqlalchemy.exc import ProgrammingError
from sqlmodel import select
from temporalio.api.namespace.v1 import UpdateNamespaceInfo
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from models.base.errors import ServiceUnavailable
from models.repositories.database import Database
from models.tables.installation import Installation
from workers.embedded.errors import StartError

logger = logging.getLogger(__name__)

OWNER_KEY = "quarterdeck-installation"
SETTLE_S = 1.0
"""Longer than there is between reading that nobody owns a namespace and writing that we do."""

LOOK_EVERY_S = 1.0
NOT_OURS_TO_CHANGE = frozenset(
    {RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.FAILED_PRECONDITION}
)
"""What servers answer where a client may not change a namespace, as Temporal Cloud's do: an operator has to keep them apart."""


async def installation(database: Database) -> Installation:
    """This installation's row. Waits while the database is away or nobody has run `bootstrap` on it."""
    is_told = False
    while True:
        try:
            async with database.system() as session:
                found = (await session.exec(select(Installation))).one_or_none()
        except (ServiceUnavailable, ProgrammingError):  # away; or there, without its tables
            found = None
        if found is not None:
            return found
        if not is_told:
            logger.warning("waiting for the database, or for `migrate` and `bootstrap` to be run on it")
            is_told = True
        await asyncio.sleep(LOOK_EVERY_S)


async def claim_namespace(client: Client, installation: UUID, *, settle_s: float = SETTLE_S) -> None:
    """Returns when the client's namespace is this installation's. Raises StartError when it is another's or not there."""
    try:
        owner = await _owner(client)
        if not owner:
            await _write(client, installation)
            await asyncio.sleep(settle_s)
            owner = await _owner(client)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise StartError(
                f"there is no Temporal namespace {client.namespace}: create it, or set QUARTERDECK_TEMPORAL_NAMESPACE"
            ) from None
        if error.status not in NOT_OURS_TO_CHANGE:
            raise StartError(
                f"Temporal's namespace {client.namespace} cannot be read: {error.status.name} {error.message}"
            ) from None
        logger.warning(
            "cannot note in namespace %s whose it is (%s); make sure that no other installation uses it",
            client.namespace,
            error.status.name,
        )
        return
    if owner != str(installation):
        raise StartError(
            f"the Temporal namespace {client.namespace} belongs to another installation ({owner}): "
            "set QUARTERDECK_TEMPORAL_NAMESPACE to one of its own"
        )


async def _owner(client: Client) -> str:
    """Empty for a namespace that nobody has claimed."""
    request = DescribeNamespaceRequest(namespace=client.namespace)
    answer = await client.workflow_service.describe_namespace(request, retry=True)
    return answer.namespace_info.data.get(OWNER_KEY, "")


async def _write(client: Client, installation: UUID) -> None:
    """The namespace's other data stays as it is: Temporal merges the keys."""
    info = UpdateNamespaceInfo(data={OWNER_KEY: str(installation)})
    await client.workflow_service.update_namespace(
        UpdateNamespaceRequest(namespace=client.namespace, update_info=info), retry=True
    )
