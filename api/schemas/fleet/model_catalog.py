"""Models that can be served, as they are read (contract/fleet.md 2.10)."""

from uuid import UUID

from pydantic import Field

from api.schemas.base import Moment, ResponseModel
from models.tables.fleet.catalog import LlmModel


class ModelRead(ResponseModel):
    id: UUID
    code: str = Field(description="Short name, accepted wherever a model is named.")
    name: str
    model_id: str = Field(description="Hugging Face id, the name under which the model answers.")
    required_vram_gb: int = Field(description="Memory it needs in GB: of GPUs, or RAM on a type without one.")
    context_length: int
    is_active: bool
    data_volume_gb: int | None
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, row: LlmModel) -> "ModelRead":
        return cls(
            id=row.id,
            code=row.code,
            name=row.name,
            model_id=row.model_id,
            required_vram_gb=row.required_vram_gb,
            context_length=row.context_length,
            is_active=row.is_active,
            data_volume_gb=row.data_volume_gb,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
