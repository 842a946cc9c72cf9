"""From the headers of a request to a principal, without the database."""

from api.security.credentials import Credential, RawHeaders, credentials, is_cross_origin
from api.security.identities import Authenticated, Identities, invalid_token, unverifiable
from api.security.last_used import LastUsed
from models.base.errors import PermissionDenied, Unauthenticated


class Authenticator:
    """Raises Unauthenticated, PermissionDenied for a cookie sent by another site's page, ServiceUnavailable while
    revocations may have been missed and cannot be caught up with.
    """

    def __init__(self, identities: Identities, last_used: LastUsed, cookie_name: str) -> None:
        self._identities = identities
        self._last_used = last_used
        self._cookie_name = cookie_name

    async def authenticate(self, method: str, headers: RawHeaders) -> Authenticated:
        headers = list(headers)
        presented = self.presented(headers)
        if not presented:
            raise Unauthenticated("sign in, or send an API key", code="LOGIN_REQUIRED")
        credential, caller = await self.holder_of(presented)
        if credential.ambient:
            refuse_cross_origin(method, headers)
        return caller

    def presented(self, headers: RawHeaders) -> list[Credential]:
        """What the headers have of credentials, the first that counts before others."""
        return credentials(headers, self._cookie_name)

    async def holder_of(self, presented: list[Credential]) -> tuple[Credential, Authenticated]:
        """The first of these that is good, and whose it is. Raises Unauthenticated, ServiceUnavailable."""
        found = self._find(presented) if self._identities.fresh else None
        if found is None and any(self._identities.may_exist(each.token) for each in presented):
            is_current = await self._identities.catch_up()
            found = self._find(presented)
            if found is None and not is_current:
                raise unverifiable()
        if found is None:
            raise invalid_token()
        self._last_used.seen(found[1].principal)
        return found

    def _find(self, presented: list[Credential]) -> tuple[Credential, Authenticated] | None:
        for credential in presented:
            caller = self._identities.find(credential.token)
            if caller is not None:
                return credential, caller
        return None


def refuse_cross_origin(method: str, headers: RawHeaders) -> None:
    """Raises PermissionDenied for an unsafe request that a browser makes for another site's page."""
    if is_cross_origin(method, headers):
        raise PermissionDenied("pages of another origin may not do this with a cookie", code="CROSS_ORIGIN")
