"""Inference: the OpenAI-compatible API in front of the served models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from api.family import ApiFamily, Turn
from api.health import HealthPart
from api.inference import routes
from api.inference.composition import Inference
from api.inference.edge import PREFIX
from api.part import ApiObjects


def _made(objects: ApiObjects) -> Sequence[object]:
    return (
        Inference(
            objects.settings,
            objects.installation_key,
            objects.databases.inference,
            objects.listen_url,
            objects.authenticator,
            clock=objects.clock,
            is_stopping=lambda: objects.event_feed.stopping,
        ),
    )


FAMILY: Final = ApiFamily(
    name="inference",
    routers={Turn.NEVER: (routes.router,)},
    compose=_made,
    health=HealthPart(reasons={"METERING_UNAVAILABLE": lambda state: not state.of(Inference).can_record}),
    shortcuts={PREFIX: lambda state: state.of(Inference).edge},
    routes_added=Path(__file__).with_name("inference_routes.csv"),
)
