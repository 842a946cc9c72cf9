"""Signing in and the signed-in person (contract/fleet.md 2.1, 2.5)."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, Secret, StringConstraints

from api.schemas.base import Moment, RequestModel, ResponseModel
from models.domain.identity.passwords import LONGEST, SHORTEST

Login = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, min_length=1, max_length=320)]
"""320 characters: the longest e-mail address (RFC 3696 erratum 1003 counts 64 + 1 + 255)."""


class PasswordLogin(RequestModel):
    """`email` takes a username too. One day a body without `password` asks for a code by e-mail (contract decision 8)."""

    email: Login
    password: Secret[Annotated[str, StringConstraints(min_length=1, max_length=LONGEST)]]


class PasswordChange(RequestModel):
    current_password: Secret[Annotated[str, StringConstraints(min_length=1, max_length=LONGEST)]]
    new_password: Secret[Annotated[str, StringConstraints(min_length=SHORTEST, max_length=LONGEST)]]


class PasswordChanged(ResponseModel):
    status: str = "ok"


class SignedIn(ResponseModel):
    """`role` is that of the installation: `admin` for a superadmin, else `user`. `access_token` is what the cookie holds."""

    user_id: UUID
    email: str
    role: str
    first_name: str | None
    last_name: str | None
    current_organization_id: UUID
    access_token: str
    token_type: str = "bearer"  # noqa: S105  (RFC 6750's word)
    expires_at: Moment
    expires_in: Annotated[int, Field(description="Seconds until `expires_at`.")]


class SignedOut(ResponseModel):
    status: str = "ok"


class Me(ResponseModel):
    """The caller, and the organization that the session or API key acts for."""

    user_id: UUID
    username: str
    email: str
    role: str
    first_name: str | None
    last_name: str | None
    current_organization_id: UUID
    current_organization_name: str
    current_organization_slug: str
    current_organization_role: str
