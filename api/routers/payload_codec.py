"""Decryption for the Temporal web UI: what operators look at there is sealed, and a superadmin may read it."""

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from activities.runtime import remote_codec
from activities.runtime.codec import EncryptionCodec
from api.deps import State
from api.http.openapi import errors
from api.http.routing import Route
from api.state import AppState
from models.base.errors import PermissionDenied
from models.domain.keys import Purpose, decode_installation_key, derive
from models.settings.derived import temporal_ui_url

router = APIRouter(prefix="/internal/codec", tags=["system"], route_class=Route)

PREFLIGHT_S = 600


async def superadmin(request: Request, state: State) -> None:
    """A superadmin, by cookie too: the page is the web UI's, and decoding changes nothing, so it is judged as a read."""
    caller = await state.authenticator.authenticate("GET", request.scope["headers"])
    if not caller.principal.is_superadmin or caller.principal.scopes:
        raise PermissionDenied("this belongs to the installation: only a superadmin may do it", code="ADMIN_REQUIRED")


@router.options("/decode", summary="Allow the web UI to ask", status_code=204)
async def allow_decode(state: State) -> Response:
    return Response(status_code=204, headers=_for_the_web_ui(state))


@router.post(
    "/decode",
    summary="Decrypt payloads for the Temporal web UI",
    dependencies=[Depends(superadmin)],
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"type": "object", "description": "Temporal's JSON of payloads."}}
            },
        }
    },
    responses={
        **errors(400, 401, 403, 503),
        200: {"content": {"application/json": {}}, "description": "Payloads in clear."},
    },
    response_class=Response,
)
async def decode_payloads(request: Request, state: State) -> Response:
    text = remote_codec.decode(await request.body(), _codec(state))
    return Response(text, media_type="application/json", headers=_for_the_web_ui(state))


def _codec(state: AppState) -> EncryptionCodec:
    previous = state.settings.installation_key_previous
    older = [decode_installation_key(previous.get_secret_value())] if previous else []
    return EncryptionCodec(derive(state.installation_key, Purpose.CODEC), [derive(key, Purpose.CODEC) for key in older])


def _for_the_web_ui(state: AppState) -> dict[str, str]:
    """Where nobody said which page it is, no browser may read the answer."""
    page = temporal_ui_url(state.settings)
    return {
        **({"access-control-allow-origin": page} if page else {}),
        "access-control-allow-credentials": "true",
        "access-control-allow-headers": "content-type, x-namespace, authorization",
        "access-control-allow-methods": "POST",
        "access-control-max-age": str(PREFLIGHT_S),
        "cross-origin-resource-policy": "cross-origin",
        "vary": "origin",
    }
