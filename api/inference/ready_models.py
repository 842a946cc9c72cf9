"""The models that are ready to answer, as OpenAI's API describes them, and what they cannot do."""

import time
from typing import Any
from uuid import UUID

from api.inference.knowledge import Knowledge
from models.base.errors import MalformedRequest, NotFound
from models.domain.inference.calls import Call
from models.domain.inference.capabilities import Capabilities
from models.domain.inference.resolution import CatalogModel

OWNED_BY = "quarterdeck"


class ReadyModels:
    """Raises ServiceUnavailable while routes or catalogue may not be believed."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge

    def listing(self, organization_id: UUID) -> dict[str, Any]:
        catalog = self._knowledge.catalog()
        ready = self._knowledge.routes().models(organization_id, time.monotonic())
        known = ((catalog.by_model_id(model_id), capabilities) for model_id, capabilities in ready.items())
        data = [_described(model, capabilities) for model, capabilities in known if model is not None]
        return {"object": "list", "data": data}

    def one(self, organization_id: UUID, name: str) -> dict[str, Any]:
        """By any of its names. Raises NotFound for one that is not ready, too."""
        model = self._knowledge.catalog().resolve(name)
        ready = self._knowledge.routes().models(organization_id, time.monotonic())
        if model.model_id not in ready:
            raise NotFound(
                "no instance of your organization is ready to serve this model; GET /v1/models lists those that are",
                code="MODEL_NOT_FOUND",
                details={"param": "model"},
            )
        return _described(model, ready[model.model_id])

    def check(self, organization_id: UUID, model: CatalogModel, call: Call) -> None:
        """Raises MalformedRequest (`NOT_SUPPORTED`) for tools that no instance would show to its model."""
        if not call.has_tools:
            return
        routes = self._knowledge.routes()
        if "tools" in routes.capabilities(organization_id, model.model_id, time.monotonic()).cannot:
            raise MalformedRequest(
                f"{model.model_id} has no place for tools in its chat template",
                code="NOT_SUPPORTED",
                details={"param": "tools"},
            )


def _described(model: CatalogModel, capabilities: Capabilities) -> dict[str, Any]:
    return {
        "id": model.model_id,
        "object": "model",
        "created": model.created_epoch_s,
        "owned_by": OWNED_BY,
        "max_model_len": capabilities.max_model_len or model.context_length,
        "capabilities": capabilities.as_openai(),
    }
