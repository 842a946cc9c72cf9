"""A provider's list of machines, page by page, whatever the provider makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.base.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from models.ports.compute import ComputePort, MachinesPage

MOST_PAGES = 10_000


async def pages_of_machines(compute: ComputePort, installation_id: UUID) -> AsyncIterator[MachinesPage]:
    """Every page, each machine once. Raises the provider's errors, and ProviderError for a list that has no end: one whose
    pages come again, under the same cursor or another.
    """
    seen: set[str] = set()
    cursors: set[str | None] = {None}
    cursor: str | None = None
    while True:
        page = await compute.page_of_machines(installation_id, cursor)
        fresh = [machine for machine in page.machines if machine.provider_instance_id not in seen]
        seen.update(machine.provider_instance_id for machine in fresh)
        yield page.model_copy(update={"machines": fresh})
        cursor = page.next_cursor
        if cursor is None:
            return
        brings_nothing_new = bool(page.machines) and not fresh
        if brings_nothing_new or cursor in cursors or len(cursors) >= MOST_PAGES:
            raise ProviderError("the provider's list of machines has no end", code="PROVIDER_LIST_ENDLESS")
        cursors.add(cursor)
