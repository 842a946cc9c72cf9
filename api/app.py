"""The ASGI application: middleware, error bodies, routers, document."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from api.composition import AppState
from api.http.body_limits import LARGE_BODIES, LIMIT_BYTES
from api.http.cut_short import CutShort
from api.http.errors import install_error_handlers
from api.http.middleware import BodyLimit, Edge
from api.http.openapi import install_openapi
from api.http.pagination import only_known_filters
from api.inference.edge import is_inference
from api.routers import ROUTERS, system
from models.base.version import VERSION
from models.settings import Environment


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    state: AppState = app.state.quarterdeck
    async with state.running():
        yield


def operation_id(route: APIRoute) -> str:
    """The handler's name: stable for generated clients, and unique (held by a test)."""
    return route.name


class Application(FastAPI):
    """The framework, and past it the short way to the inference API."""

    inference: ASGIApp
    framework: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.inference if is_inference(scope) else self.framework)(scope, receive, send)


def create_app(state: AppState) -> FastAPI:
    """The application around this state, which starts and stops with it."""
    app = Application(
        title="Quarterdeck",
        version=VERSION,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
    )
    app.state.quarterdeck, app.inference = state, state.inference.edge
    app.framework = CutShort(super(Application, app).__call__, lambda: state.event_feed.stopping)
    install_error_handlers(app)
    install_openapi(app, state.settings)
    app.include_router(system.router)
    for router in ROUTERS:
        app.include_router(router, dependencies=[Depends(only_known_filters)])
    # The last one added is the first one passed.
    large = dict.fromkeys(LARGE_BODIES, state.settings.request_body_limit_bytes)
    app.add_middleware(BodyLimit, limit_bytes=LIMIT_BYTES, exceptions=large)
    app.add_middleware(Edge, hsts=state.settings.environment is Environment.PRODUCTION)
    return app
