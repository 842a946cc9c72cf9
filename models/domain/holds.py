"""What an owner can be held up by: a code from this list and a moment, never what a provider said."""

from enum import StrEnum
from typing import Final

from models.base.errors import (
    DATABASE_BUSY,
    DATABASE_UNAVAILABLE,
    AppError,
    DeadlineExceeded,
    ProviderError,
    ProviderUnavailable,
    ServiceUnavailable,
)


class HoldCode(StrEnum):
    """Those of every family. One that has more of its own brings them with their words (`models/domain/wording`)."""

    PROVIDER_UNAVAILABLE = "PROVIDER_UNAVAILABLE"  # it does not answer, or says that it cannot at the moment
    PROVIDER_THROTTLED = "PROVIDER_THROTTLED"
    PROVIDER_AUTH = "PROVIDER_AUTH"
    PROVIDER_REJECTED = "PROVIDER_REJECTED"
    PROVIDER_ERROR = "PROVIDER_ERROR"
    NO_CAPACITY = "NO_CAPACITY"
    NO_WORKER = "NO_WORKER"  # nobody has taken up what the provider is to be asked
    DELETION_PENDING = "DELETION_PENDING"  # it took the order to delete, and what was to go is still there
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"  # a part of this installation is away
    INTERNAL = "INTERNAL"


AT_PROVIDER: Final = frozenset(HoldCode) - {HoldCode.SERVICE_UNAVAILABLE, HoldCode.INTERNAL}
"""Over when the provider does what it is asked for, not when the owner comes through a pass without asking it."""

PARTS_OF_OURS: Final = frozenset({ServiceUnavailable.code, DATABASE_UNAVAILABLE, DATABASE_BUSY})


def refused_by_provider(error_code: str) -> HoldCode:
    """For a call at the provider that failed with the code of an AppError. A time-out says that it does not answer; a defect is
    ours, and so is a database that the call cannot read the row of.
    """
    if error_code in PARTS_OF_OURS:
        return HoldCode.SERVICE_UNAVAILABLE
    if error_code == DeadlineExceeded.code:
        return HoldCode.PROVIDER_UNAVAILABLE
    if error_code == AppError.code:
        return HoldCode.INTERNAL
    return HoldCode(error_code) if error_code in AT_PROVIDER else HoldCode.PROVIDER_ERROR


def unexpected(error: AppError) -> HoldCode:
    """For a failure that no phase of the owner expected."""
    if isinstance(error, ProviderError | ProviderUnavailable):
        return refused_by_provider(error.code)
    return HoldCode.SERVICE_UNAVAILABLE if isinstance(error, ServiceUnavailable) else HoldCode.INTERNAL
