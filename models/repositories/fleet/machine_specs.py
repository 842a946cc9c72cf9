"""What is created for an instance, from its frozen offer and the catalogue's model."""

from uuid import UUID

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import NotFound
from models.ports.compute import MachineSpec
from models.tables.fleet.catalog import InstanceType, LlmModel
from models.tables.fleet.instances import Instance
from models.tables.installation import Installation

DEFAULT_SLOTS = 2
"""Requests an agent serves at once where the type says nothing (`allocation_params.slots`)."""


async def machine_spec(session: AsyncSession, instance_id: UUID, *, heartbeat_interval_s: float) -> MachineSpec:
    """The spec as it would be frozen now. Raises NotFound when the instance or what it refers to is gone."""
    statement = (
        select(Instance, InstanceType, LlmModel)
        .where(Instance.id == instance_id)
        .where(InstanceType.id == Instance.instance_type_id, LlmModel.id == Instance.model_id)
    )
    found = (await session.exec(statement)).one_or_none()
    installation_id = (await session.exec(select(Installation.id))).one_or_none()
    if found is None or installation_id is None:
        raise NotFound("this instance has no type or model", code="INSTANCE_NOT_FOUND")
    row, kind, model = found
    slots, image = kind.allocation_params.get("slots"), kind.allocation_params.get("image")
    return MachineSpec(
        installation_id=installation_id,
        organization_id=row.organization_id,
        instance_id=row.id,
        machine_key=f"{row.id}.{row.generation}",
        name=f"quarterdeck-{row.id}",
        zone=row.zone_code or "",
        instance_type=kind.code,
        image=image if isinstance(image, str) else None,
        model_id=model.model_id,
        model_code=model.code,
        model_file=model.model_file,
        slots=slots if isinstance(slots, int) else DEFAULT_SLOTS,
        context_length=model.context_length,
        data_volume_gb=model.data_volume_gb or 0,
        heartbeat_interval_s=heartbeat_interval_s,
    )
