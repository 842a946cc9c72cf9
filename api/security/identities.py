"""Tokens to principals, in memory: no request asks the database who is calling (contract decision 6)."""

import asyncio
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

from api.security.credential_watch import CredentialWatch, Ended
from api.security.tokens import SessionTokens
from models.base.errors import AppError, ServiceUnavailable, Unauthenticated
from models.domain.identity.api_keys import looks_like_api_key
from models.domain.identity.principal import Principal
from models.domain.keys import fingerprint
from models.repositories.database_clock import DatabaseClock
from models.repositories.identity.identities import CHANNEL, IdentitySource
from models.repositories.replica import CATCH_UP_S, Replica

RETRY_AFTER_S = 2.0


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A caller. `token_hash` lets a stream ask later whether the token is still good."""

    principal: Principal
    token_hash: str


class Identities:
    """Every live session and API key. A revocation is effective here within one notification's travel."""

    def __init__(self, listen_url: str, tokens: SessionTokens, clock: DatabaseClock) -> None:
        self._replica: Replica[str, Principal] = Replica(listen_url, CHANNEL, IdentitySource(), clock=clock)
        self._clock = clock
        self._tokens = tokens
        self._genuine: set[str] = set()
        self._genuine_version = -1
        self._watch = CredentialWatch(self.lost)
        self._watching: asyncio.Task[None] | None = None

    @property
    def fresh(self) -> bool:
        """Whether what is known may be believed; if not, `catch_up` before anybody is refused."""
        return self._replica.fresh

    @property
    def age_s(self) -> float:
        """Seconds since the database last proved that nothing was missed; infinite before the first time."""
        return self._replica.age_s

    async def start(self) -> None:
        await self._replica.start()
        self._watching = asyncio.create_task(self._watch.run(self._replica.changed), name="watch:credentials")

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        await self._replica.close()

    async def catch_up(self, timeout_s: float = CATCH_UP_S) -> bool:
        """True once everything committed before this call shows here, False if that cannot be had in time."""
        return await self._replica.catch_up(timeout_s)

    def find(self, token: str) -> Authenticated | None:
        """Who presents this token. Raises ServiceUnavailable while revocations may have been missed."""
        token_hash = fingerprint(token)
        principal = self.holder(token_hash)
        if principal is None:
            return None
        if principal.session_id is not None and not self._is_genuine(token, token_hash, principal):
            return None
        return Authenticated(principal, token_hash)

    def holder(self, token_hash: str) -> Principal | None:
        """Who holds the token with this hash: asked again by streams, which keep no token."""
        if not self._replica.fresh:
            raise unverifiable()
        principal = self._replica.get(token_hash)
        if principal is None or (principal.expires_at is not None and principal.expires_at <= self._clock.now()):
            return None
        return principal

    def watched(self, token_hash: str, ended: Ended) -> AbstractContextManager[None]:
        """While entered, `ended` is called within 1 s when the token with this hash is good no more, or nobody can say so."""
        return self._watch.watched(token_hash, ended)

    def lost(self, token_hash: str) -> AppError | None:
        """What is wrong with the token with this hash; None where it is good."""
        try:
            holder = self.holder(token_hash)
        except ServiceUnavailable as error:
            return error
        return None if holder is not None else invalid_token()

    def may_exist(self, token: str) -> bool:
        """Whether it is worth a round trip to learn if an unknown token was made a moment ago, perhaps by another process."""
        return looks_like_api_key(token) or self._tokens.session_id(token, self._clock.now()) is not None

    def _is_genuine(self, token: str, token_hash: str, principal: Principal) -> bool:
        """The signature is ours and names this row: a row written by somebody else opens nothing. Checked once per token."""
        if self._genuine_version != self._replica.version:
            self._genuine, self._genuine_version = set(), self._replica.version
        if token_hash in self._genuine:
            return True
        if self._tokens.session_id(token, self._clock.now()) != principal.session_id:
            return False
        self._genuine.add(token_hash)
        return True


def invalid_token() -> Unauthenticated:
    return Unauthenticated(
        "these credentials are not valid: they are unknown, expired or revoked", code="INVALID_TOKEN"
    )


def unverifiable() -> ServiceUnavailable:
    """For a token about which nothing can be said at the moment: it may be good."""
    return ServiceUnavailable(
        "who is calling cannot be verified at the moment; try again shortly",
        code="IDENTITIES_STALE",
        retry_after_s=RETRY_AFTER_S,
    )
