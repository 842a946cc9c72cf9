"""Who opens a socket (contract decision 27): told by the handshake, or by the first message."""

import asyncio

import orjson
from starlette.websockets import WebSocket

from api.security.authenticator import Authenticator
from api.security.credentials import Credential
from api.security.identities import Authenticated
from models.base.errors import Unauthenticated

SUBPROTOCOL = "quarterdeck"
"""What a page offers beside its token: one of what it offers must be chosen, and that should not be the token."""
TOKEN_PREFIX = "bearer."  # noqa: S105  (no token)
FIRST_MESSAGE_S = 5.0
"""How long somebody who has told nothing yet may take to. Contract/digital-humans.md 8."""
AUTH = "auth"


async def socket_caller(websocket: WebSocket, authenticator: Authenticator) -> Authenticated:
    """Accepts the socket and says whose it is. Raises Unauthenticated, ServiceUnavailable, WebSocketDisconnect.

    A page cannot set headers. It offers the subprotocols `quarterdeck` and `bearer.<token>`, or sends
    `{"type": "auth", "token": "…"}` first, or has the cookie; other programs send the headers of any request. Never the query:
    it is written into logs on its way.
    """
    offered = websocket.scope["subprotocols"]
    await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
    tokens = [name.removeprefix(TOKEN_PREFIX) for name in offered if name.startswith(TOKEN_PREFIX)]
    presented = [Credential(token) for token in tokens[:1]] or authenticator.presented(websocket.scope["headers"])
    if not presented:
        presented = [Credential(await _first_message(websocket))]
    return (await authenticator.holder_of(presented))[1]


async def _first_message(websocket: WebSocket) -> str:
    try:
        async with asyncio.timeout(FIRST_MESSAGE_S):
            message = await websocket.receive()
        document = orjson.loads(message.get("text") or "null")
        token = document["token"] if document["type"] == AUTH else None
    except (TimeoutError, orjson.JSONDecodeError, TypeError, KeyError):
        token = None
    if not isinstance(token, str) or not token.isascii():
        raise Unauthenticated(
            'sign in first: offer the subprotocols `quarterdeck` and `bearer.<token>`, or send {"type": "auth", "token": "…"}',
            code="LOGIN_REQUIRED",
        )
    return token
