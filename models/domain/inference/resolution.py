"""Which model a caller means (contract/fleet.md 6.1, contract decision 12)."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from models.base.errors import NotFound


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """An active model. `model_id` is the Hugging Face id by which its servers know it.

    Length in tokens; seconds since the epoch when it came into the catalogue.
    """

    id: UUID
    code: str
    model_id: str
    context_length: int = 0
    created_epoch_s: int = 0


class ModelCatalog:
    """The active models at one moment, findable by every name they have. Immutable: a new state is a new catalogue."""

    def __init__(self, models: Iterable[CatalogModel] = ()) -> None:
        self._by_id: dict[UUID, CatalogModel] = {}
        self._by_name: dict[str, CatalogModel] = {}
        known = list(models)
        for model in known:
            self._by_id[model.id] = model
            self._by_name[model.code] = model
        for model in known:  # after all codes: where a code equals another model's own id, the id wins
            self._by_name[model.model_id] = model

    def by_model_id(self, model_id: str) -> CatalogModel | None:
        """For a name that servers know; None if the model is not active, or not in the catalogue."""
        model = self._by_name.get(model_id)
        return model if model is not None and model.model_id == model_id else None

    def resolve(self, requested: str) -> CatalogModel:
        """By uuid, Hugging Face id or catalogue code, in this order. Raises NotFound (`MODEL_NOT_FOUND`).

        Hugging Face ids and offerings (`organization/model`) have the same shape; an exact catalogue match always comes first.
        """
        model = self._by_id.get(identifier) if (identifier := _uuid(requested)) else None
        found = model or self._by_name.get(requested)
        if found is None:
            raise NotFound(
                "no active model has this name; GET /v1/models lists those that are ready",
                code="MODEL_NOT_FOUND",
                details={"param": "model"},
            )
        return found


def _uuid(text: str) -> UUID | None:
    if len(text) != 36:
        return None
    try:
        return UUID(text)
    except ValueError:
        return None
