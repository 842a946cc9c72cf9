"""The first look at this machine's served instances after a start: before requests are sent to an agent that is dead.

After a power cut rows still say `ready`, and the port of a dead agent may be another program's by now, which would get prompts
and the key. The lock in an agent's folder decides, as always: an agent that lives and could not reach us still holds it.
"""

import asyncio

from activities.fleet.providers import provider_of
from activities.outside import outside_client
from models.domain.fleet.provider_kinds import PROVIDER_KINDS
from models.ports.compute import Machine
from models.repositories.database import Database
from models.repositories.fleet import dead_agents
from models.settings import Settings, derived

TIMEOUT_S = 10.0
"""Of a call to what reaches this machine over a network, if any does."""


async def report_dead_agents(database: Database, settings: Settings) -> int:
    """How many agents of this installation are dead though their instances live. `database` is the owner role's.

    Raises ProviderUnavailable where a folder cannot be read, ServiceUnavailable while the database is away.
    """
    if not await asyncio.to_thread(derived.instances_dir(settings).is_dir):
        return 0  # nothing was ever served here
    async with database.system() as session:
        ours = await dead_agents.installation_id(session)
    machines: list[Machine] = []
    async with outside_client(TIMEOUT_S) as http:
        for kind in PROVIDER_KINDS.on_this_machine():
            machines += await provider_of(kind).build(settings, http).list_machines(ours, settings.runner_zone)
    dead = [each.instance_id for each in machines if each.is_agent_running is False and each.instance_id is not None]
    if not dead:
        return 0
    async with database.system() as session:
        return await dead_agents.report(session, dead)
