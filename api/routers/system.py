"""Open to everybody: the banner, the health, the version, the documentation. Nothing here needs the database."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import psutil
from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from api.deps import State
from api.http import swagger_ui
from api.http.openapi import document_bytes, errors
from api.http.routing import Route
from api.registry import HEALTH
from api.schemas.base import ResponseModel
from api.schemas.system import Brains, Memory, Version
from models.base.errors import DATABASE_UNAVAILABLE, ServiceUnavailable
from models.base.version import VERSION

router = APIRouter(tags=["system"], route_class=Route)

DATABASE_SILENCE_S = 12.0
"""The database answers a ping every 5 s; two missed ones and a bit mean that it is away, or that this process stood still."""
ASK_DATABASE_S = 1.0
"""Which of the two it is, is asked for so long: who looks after processes waits 2 s and more for this answer."""

BANNER = f"Quarterdeck {VERSION}. Documentation: /swagger-ui/  Document: /api-docs/openapi.json\n"


@router.get("/", summary="Say what this is", response_class=PlainTextResponse)
async def read_banner() -> str:
    return BANNER


@router.get("/health", summary="Tell whether this process can work", response_model=HEALTH.model, responses=errors(503))
async def read_health(state: State) -> ResponseModel:
    if state.identities.age_s > DATABASE_SILENCE_S and not await state.identities.catch_up(ASK_DATABASE_S):
        raise ServiceUnavailable("the database does not answer", code=DATABASE_UNAVAILABLE, retry_after_s=2)
    reasons = HEALTH.reasons(state)
    used, total = psutil.Process().memory_info().rss, psutil.virtual_memory().total
    return HEALTH.model(
        status="degraded" if reasons else "healthy",
        database="connected",
        version=VERSION,
        timestamp=state.clock.now(),
        brains=Brains(),
        memory=Memory(used=f"{used // 1_000_000}MB", total=f"{total // 1_000_000}MB"),
        stuck_messages=state.pulse.ailments.stuck_messages,
        **HEALTH.of_families(state),
        alarms=dict(state.pulse.ailments.alarms),
        reasons=reasons,
    )


@cache
def _version() -> Version:
    built_at = datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)
    return Version(backend_version=VERSION, build_time=built_at)


@router.get("/version", summary="Tell the version")
async def read_version() -> Version:
    return _version()


@router.get("/api/version", summary="Tell the version", include_in_schema=False)
async def read_version_under_api() -> Version:
    return _version()


@router.get("/api-docs/openapi.json", summary="Read the OpenAPI document")
async def read_openapi_document(request: Request) -> Response:
    return Response(document_bytes(request.app), media_type="application/json")


@router.get("/swagger-ui", summary="Browse the API", include_in_schema=False)
async def read_swagger_ui() -> Response:
    return Response(swagger_ui.PAGE, media_type="text/html", headers=swagger_ui.HEADERS)


@router.get("/swagger-ui/{asset}", summary="Read a part of the documentation page", include_in_schema=False)
async def read_swagger_ui_asset(asset: str) -> Response:
    content, media_type = swagger_ui.asset(asset)
    return Response(content, media_type=media_type, headers=swagger_ui.HEADERS)
