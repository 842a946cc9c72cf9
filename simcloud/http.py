"""What every route of the cloud shares: who may call it, how a failure looks, and how a connection is dropped."""

import hmac
import logging
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from simcloud.errors import CloudError, Malformed, Unauthorized

log = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 4 << 20
CLIENT_GONE = 499


def bearer(request: web.Request) -> str:
    """The bearer token of the request, or an empty text."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def token_required(token: str, *, open_paths: frozenset[str]) -> Middleware:
    """Every path wants the API token, except those that are open or check a key of their own."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path not in open_paths and not hmac.compare_digest(bearer(request).encode(), token.encode()):
            return error_response(Unauthorized("the API token is missing or wrong"))
        return await handler(request)

    return middleware


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except CloudError as error:
        return error_response(error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _json({"code": "http", "message": error.reason}, error.status)
    except ConnectionError:
        return web.Response(status=CLIENT_GONE)  # nobody reads it: the connection is cut
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return error_response(CloudError("the cloud failed; its log says why"))


def error_response(error: CloudError) -> web.Response:
    response = _json({"code": error.code, "message": error.message}, error.status)
    if error.retry_after_s is not None:
        response.headers[hdrs.RETRY_AFTER] = f"{error.retry_after_s:g}"
    return response


async def json_body(request: web.Request) -> Mapping[str, Any]:
    """The body as an object; no body is an empty one. Raises Malformed."""
    raw = await request.read()
    if not raw:
        return {}
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Malformed("the body is not JSON") from error
    if not isinstance(body, dict):
        raise Malformed("the body is not a JSON object")
    return body


def json_response(body: object, status: int = 200) -> web.Response:
    return _json(body, status)


def cut_connection(request: web.Request) -> None:
    """End the connection without another byte, as a crashed peer or a broken network does."""
    if request.transport is not None:
        request.transport.abort()


def _json(body: object, status: int) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
