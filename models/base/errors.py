"""Every failure this product expects, as one tree.

    AppError                       500  INTERNAL
    +-- InvalidRequest             422  INVALID_REQUEST          (400 for a malformed request: `MalformedRequest`)
    |   +-- MalformedRequest       400  MALFORMED_REQUEST
    +-- Unauthenticated            401  UNAUTHENTICATED
    +-- BudgetExceeded             402  BUDGET_EXCEEDED
    +-- PermissionDenied           403  PERMISSION_DENIED
    +-- NotFound                   404  NOT_FOUND
    +-- Conflict                   409  CONFLICT
    |   +-- IllegalTransition      409  ILLEGAL_TRANSITION
    |   +-- IdempotencyMismatch    409  IDEMPOTENCY_MISMATCH
    +-- PayloadTooLarge            413  PAYLOAD_TOO_LARGE
    +-- RateLimited                429  RATE_LIMITED             retryable
    +-- ProviderError              502  PROVIDER_ERROR           retryable
    |   +-- ProviderAuth           502  PROVIDER_AUTH
    |   +-- ProviderRejected       502  PROVIDER_REJECTED        (the provider refused these parameters; retrying cannot help)
    |   +-- ProviderThrottled      502  PROVIDER_THROTTLED       retryable
    |   +-- NoCapacity             502  NO_CAPACITY              (never retried: the caller takes the next offer or stops)
    |   +-- PartialCreate          502  PARTIAL_CREATE           (carries `resource_id` of what may exist)
    +-- ProviderUnavailable        503  PROVIDER_UNAVAILABLE     retryable
    +-- ServiceUnavailable         503  SERVICE_UNAVAILABLE      retryable (a part of this installation is down)
    +-- DeadlineExceeded           504  DEADLINE_EXCEEDED

`code` is what programs branch on, `message` what a person reads: bounded, without secrets, without a vendor's text. A subclass of
these, or `code=` at the raise, narrows the meaning; the HTTP status stays the class's own.
"""

from collections.abc import Mapping
from typing import ClassVar

MESSAGE_LIMIT = 2_000
"""Longest message in characters: longer ones are cut, so that no vendor's page ends up in a history or a log."""


class AppError(Exception):
    """An expected failure. `retry_after_s` is a hint in seconds for the caller, honoured by workflows and `Retry-After`."""

    code: str = "INTERNAL"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        details: Mapping[str, object] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message[:MESSAGE_LIMIT])
        self.message = message[:MESSAGE_LIMIT]
        self.code = code or type(self).code
        self.details: dict[str, object] = dict(details or {})
        self.retry_after_s = retry_after_s


class InvalidRequest(AppError):
    code = "INVALID_REQUEST"
    status = 422


class MalformedRequest(InvalidRequest):
    code = "MALFORMED_REQUEST"
    status = 400


class Unauthenticated(AppError):
    code = "UNAUTHENTICATED"
    status = 401


class BudgetExceeded(AppError):
    code = "BUDGET_EXCEEDED"
    status = 402


class PermissionDenied(AppError):
    code = "PERMISSION_DENIED"
    status = 403


class NotFound(AppError):
    code = "NOT_FOUND"
    status = 404


class Conflict(AppError):
    code = "CONFLICT"
    status = 409


class IllegalTransition(Conflict):
    code = "ILLEGAL_TRANSITION"


class IdempotencyMismatch(Conflict):
    code = "IDEMPOTENCY_MISMATCH"


class PayloadTooLarge(AppError):
    code = "PAYLOAD_TOO_LARGE"
    status = 413


class RateLimited(AppError):
    code = "RATE_LIMITED"
    status = 429
    retryable = True


class ProviderError(AppError):
    code = "PROVIDER_ERROR"
    status = 502
    retryable = True


class ProviderAuth(ProviderError):
    code = "PROVIDER_AUTH"
    retryable = False


class ProviderRejected(ProviderError):
    code = "PROVIDER_REJECTED"
    retryable = False


class ProviderThrottled(ProviderError):
    code = "PROVIDER_THROTTLED"


class NoCapacity(ProviderError):
    code = "NO_CAPACITY"
    retryable = False


class PartialCreate(ProviderError):
    """The create failed, yet something may exist: `resource_id` names it, and the owner deletes it."""

    code = "PARTIAL_CREATE"
    retryable = False

    def __init__(self, message: str, *, resource_id: str) -> None:
        super().__init__(message, details={"resource_id": resource_id})
        self.resource_id = resource_id


class ProviderUnavailable(AppError):
    code = "PROVIDER_UNAVAILABLE"
    status = 503
    retryable = True


DATABASE_UNAVAILABLE, DATABASE_BUSY = "DATABASE_UNAVAILABLE", "DATABASE_BUSY"
"""Codes of a `ServiceUnavailable` that say which part it is."""


class ServiceUnavailable(AppError):
    code = "SERVICE_UNAVAILABLE"
    status = 503
    retryable = True


class DeadlineExceeded(AppError):
    code = "DEADLINE_EXCEEDED"
    status = 504
