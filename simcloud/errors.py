"""What the cloud answers when it does not do what it was asked: one HTTP status and one `code` each."""

from typing import ClassVar


class CloudError(Exception):
    status: ClassVar[int] = 500
    code: str = "internal"

    def __init__(self, message: str, *, code: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.retry_after_s = retry_after_s


class Malformed(CloudError):
    status = 400
    code = "malformed"


class Unauthorized(CloudError):
    status = 401
    code = "unauthorized"


class Provisioning(CloudError):
    """A machine that is being built may not be touched yet: some clouds say 403 for it, as if by lack of rights."""

    status = 403
    code = "forbidden_while_provisioning"


class Missing(CloudError):
    status = 404
    code = "not_found"


class Contradiction(CloudError):
    """The machine's status does not allow it."""

    status = 409
    code = "conflict"


class OutOfCapacity(CloudError):
    status = 409
    code = "no_capacity"


class Rejected(CloudError):
    status = 422
    code = "invalid"


class Throttled(CloudError):
    status = 429
    code = "throttled"


class Broken(CloudError):
    """What a fault makes of an answer."""

    status = 500
    code = "internal"
