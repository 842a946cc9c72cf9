"""The cookie that holds a browser's session token."""

from starlette.responses import Response

from api.security.sign_in import SESSION_LIFETIME
from models.settings import Environment, Settings


def set_session_cookie(response: Response, settings: Settings, token: str) -> None:
    response.set_cookie(
        settings.session_cookie_name,
        token,
        max_age=int(SESSION_LIFETIME.total_seconds()),
        path="/",
        httponly=True,
        samesite="lax",
        secure=settings.environment is not Environment.DEVELOPMENT,
    )


def clear_session_cookie(response: Response, settings: Settings) -> None:
    response.delete_cookie(
        settings.session_cookie_name,
        path="/",
        httponly=True,
        samesite="lax",
        secure=settings.environment is not Environment.DEVELOPMENT,
    )
