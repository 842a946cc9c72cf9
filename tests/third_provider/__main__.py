"""The product with one provider more, whose files all lie here: an order is placed, and a worker asked what it would serve for it.

Each package that the product lists gets one folder more; nothing in the product knows of it. What came of it is printed as JSON.
"""

import asyncio
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, cast
from uuid import UUID

HERE = Path(__file__).resolve().parent
INSTALLATION_KEY = "Zm9yIHRlc3RzIG9ubHk6IDMyIGJ5dGVzIG9mIGtleSE"
LISTED = {
    "models.domain.fleet.providers": "kinds",
    "activities.adapters": "adapters",
    "models.repositories.fleet.seeds": "seeds",
}


def extend() -> None:
    """Before anything lists them."""
    sys.path.insert(0, str(HERE.parents[1]))
    for package, folder in LISTED.items():
        import_module(package).__path__.append(str(HERE / folder))


async def ordered(owner_url: str, api_url: str, organization_id: UUID, user_id: UUID) -> dict[str, object]:
    from models.base.errors import AppError  # noqa: PLC0415  (listed when they are imported, as all below)
    from models.contracts.task_queues import compute_queue  # noqa: PLC0415
    from models.domain.fleet.instances.state import OnUnavailable  # noqa: PLC0415
    from models.domain.fleet.placement.decision import Wish  # noqa: PLC0415
    from models.domain.identity.principal import Principal  # noqa: PLC0415
    from models.domain.identity.roles import Role  # noqa: PLC0415
    from models.repositories.database import Database  # noqa: PLC0415
    from models.repositories.fleet import deployments  # noqa: PLC0415
    from models.repositories.fleet.instances import commands as instance_commands  # noqa: PLC0415
    from models.repositories.fleet.seeding import Host, seed  # noqa: PLC0415
    from models.tables.fleet.instances import Instance  # noqa: PLC0415

    owner, api = Database(owner_url, pool_size=1), Database(api_url, pool_size=1)
    async with owner.system() as session:
        await seed(session, Host("here", memory_gb=64))
    principal = Principal(user_id, organization_id, Role.ADMIN)
    async with api.tenant(organization_id, user_id) as session:
        placed = await deployments.place(session, principal, deployments.Order(Wish(model_name="acme-poet")))
        row = await session.get_one(Instance, placed.instance_id)
        found = {"provider": row.provider_code, "zone": row.zone_code, "type": row.instance_type_code}
        elsewhere = deployments.Order(Wish(model_name="acme-poet", provider_code="local"))
        refused = await deployments.place(session, principal, elsewhere)
        anew = deployments.Order(Wish(model_name="acme-poet"), OnUnavailable.REINSTALL)
        unable = await deployments.place(session, principal, anew)
        try:
            await instance_commands.reinstall(session, principal, placed.instance_id)
        except AppError as error:
            reinstall = [error.status, error.code, error.message]
    await owner.close()
    await api.close()
    return {
        **found,
        "queue": compute_queue(found["provider"] or "", found["zone"] or ""),
        "on_unavailable": row.on_unavailable.value,
        "reinstall": reinstall,
        "reinstall_when_silent": [unable.refusal.code, unable.refusal.message] if unable.refusal else None,
        "elsewhere": refused.refusal.message if refused.refusal else None,
    }


async def served(worker_url: str) -> dict[str, object]:
    from pydantic import SecretStr  # noqa: PLC0415

    from activities.outside import outside_client  # noqa: PLC0415
    from models.settings import Settings  # noqa: PLC0415
    from workers import composition, registry  # noqa: PLC0415
    from workers.databases import Databases  # noqa: PLC0415
    from workers.family import WorkerObjects  # noqa: PLC0415

    settings = Settings(database_url_worker=SecretStr(worker_url), installation_key=SecretStr(INSTALLATION_KEY))
    databases, nobody = Databases.of(settings), cast("Any", None)
    async with outside_client(1.0) as http:
        objects = WorkerObjects(
            settings=settings,
            installation_key=b"0" * 32,
            client=nobody,
            owner_kinds=registry.OWNER_KINDS,
            databases=databases,
            of_families={},
            delivery=nobody,
            dispatcher=nobody,
            blob_store=nobody,
            blobs=nobody,
            http=http,
            sweep_steps=(),
        )
        [registration] = composition.queues(objects, {"acme"})
        by_default = [one.queue for one in composition.queues(objects, set())]
    await databases.close()
    names = [activity.__name__ for activity in registration.activities]
    return {
        "is_offered": "acme" in registry.QUEUES,
        "polls": registration.queue,
        "creates": "create_machine" in names,
        "by_default": registration.queue in by_default or "orchestration" not in by_default,
    }


if __name__ == "__main__":
    extend()
    _, owner_url, api_url, worker_url, organization, user = sys.argv
    order = asyncio.run(ordered(owner_url, api_url, UUID(organization), UUID(user)))
    print(json.dumps({**order, **asyncio.run(served(worker_url))}))
