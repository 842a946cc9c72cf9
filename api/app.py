"""The ASGI application: middleware, error bodies, routers, document."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from api.answering import answered_by
from api.http.body_limits import LARGE_BODIES, LIMIT_BYTES
from api.http.cut_short import CutShort
from api.http.errors import install_error_handlers
from api.http.middleware import BodyLimit, Edge
from api.http.openapi import install_openapi
from api.http.pagination import only_known_filters
from api.http.socket_edge import SocketEdge
from api.registry import ROUTERS, SHORTCUTS, SOCKETS
from api.routers import system
from api.state import AppState
from models.base.addresses import listed
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
    """The framework, the edge of sockets before it, and past it the short ways."""

    shortcuts: Sequence[tuple[str, ASGIApp]]
    framework: ASGIApp
    of_sockets: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answering(scope)(scope, receive, send)

    def _answering(self, scope: Scope) -> ASGIApp:
        if scope["type"] == "http":
            path: str = scope["path"]
            for prefix, application in self.shortcuts:
                if path.startswith(prefix):
                    return application
        return self.of_sockets if scope["type"] == "websocket" else self.framework


def create_app(state: AppState, *, sockets: Iterable[tuple[str, APIRouter]] = SOCKETS) -> FastAPI:
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
    app.state.quarterdeck = state
    app.shortcuts = [(prefix, answering(state)) for prefix, answering in SHORTCUTS.items()]
    inner, hsts = super(Application, app).__call__, state.settings.environment is Environment.PRODUCTION
    app.framework = CutShort(inner, lambda: state.event_feed.stopping)
    app.of_sockets = SocketEdge(
        inner,
        state.identities,
        state.stream_slots,
        origins=frozenset(origin.encode() for origin in listed(state.settings.cors_origins)),
        hsts=hsts,
        is_stopping=lambda: state.event_feed.stopping,
    )
    install_error_handlers(app)
    install_openapi(app, state.settings)
    app.include_router(system.router)
    for family, router in (*ROUTERS, *sockets):
        app.include_router(router, dependencies=[Depends(answered_by(family)), Depends(only_known_filters)])
    # The last one added is the first one passed.
    large = dict.fromkeys(LARGE_BODIES, state.settings.request_body_limit_bytes)
    app.add_middleware(BodyLimit, limit_bytes=LIMIT_BYTES, exceptions=large)
    app.add_middleware(Edge, hsts=hsts)
    return app
