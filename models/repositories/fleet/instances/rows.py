"""The owner's transactions on an instance's row, one per call."""

from models.contracts.fleet.instances import Applied, Frozen, InstanceKey, InstanceSnapshot, Projection
from models.repositories.database import Database
from models.repositories.fleet import machine_specs
from models.repositories.fleet.instances import projection as instance_projection
from models.repositories.fleet.instances.projection import OwnerLimits


class InstanceRows:
    """What `InstanceActivities` is given. Raises NotFound for an instance that does not exist, ServiceUnavailable."""

    def __init__(self, database: Database, limits: OwnerLimits, *, heartbeat_interval_s: float) -> None:
        self._database, self._limits = database, limits
        self._heartbeat_interval_s = heartbeat_interval_s

    async def load(self, key: InstanceKey) -> InstanceSnapshot:
        async with self._database.tenant(key.organization_id) as session:
            return await instance_projection.snapshot(session, key, self._limits)

    async def freeze_spec(self, key: InstanceKey) -> Frozen:
        async with self._database.tenant(key.organization_id) as session:
            spec = await machine_specs.machine_spec(
                session, key.instance_id, heartbeat_interval_s=self._heartbeat_interval_s
            )
            return await instance_projection.freeze_spec(session, key, spec, self._limits)

    async def apply(self, change: Projection) -> Applied:
        async with self._database.tenant(change.key.organization_id) as session:
            return await instance_projection.apply(session, change, self._limits)
