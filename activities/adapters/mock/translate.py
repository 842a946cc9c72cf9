"""What the simulated cloud answers, as errors of ours. Its own texts stay behind: only statuses and codes are read."""

import math
from collections.abc import Mapping

import httpx

from models.base.errors import (
    AppError,
    NoCapacity,
    ProviderAuth,
    ProviderError,
    ProviderRejected,
    ProviderThrottled,
    ProviderUnavailable,
)

LONGEST_RETRY_AFTER_S = 300.0
"""A longer wait is not believed: the caller's own deadline decides."""

ABSENT = "not_found"
"""The code of the cloud's own 404. Anybody else's, as a proxy's on the way, proves nothing about a machine."""


MEANINGS: Mapping[tuple[int, str | None], tuple[type[AppError], str]] = {
    (401, None): (ProviderAuth, "the simulated cloud refused the API token"),
    (403, "forbidden_while_provisioning"): (
        ProviderUnavailable,
        "the machine is being provisioned and takes no orders yet",
    ),
    (403, None): (ProviderAuth, "the API token lacks the right to do this"),
    (404, ABSENT): (ProviderRejected, "the simulated cloud knows no such resource"),
    (404, None): (ProviderUnavailable, "what answers at this address is not the simulated cloud"),
    (409, "no_capacity"): (NoCapacity, "the simulated cloud has no machine of this type free in this zone"),
    (409, None): (ProviderUnavailable, "the resource's state does not allow this now"),
    (429, None): (ProviderThrottled, "the simulated cloud asks to slow down"),
}
"""By status and code; None stands for any other code."""


def says_absent(response: httpx.Response) -> bool:
    """Whether the cloud itself says that the resource does not exist."""
    return response.status_code == 404 and _code(response) == ABSENT


def failure(response: httpx.Response) -> AppError:
    """The error for an answer that is not a success. Whoever may expect absence asks `says_absent` before."""
    status = response.status_code
    meaning = MEANINGS.get((status, _code(response))) or MEANINGS.get((status, None))
    if meaning is not None:
        kind, message = meaning
        return kind(message, retry_after_s=_retry_after_s(response))
    details = {"status": status}
    if status >= 500:
        return ProviderUnavailable(
            "the simulated cloud failed to answer", details=details, retry_after_s=_retry_after_s(response)
        )
    if status >= 400:
        return ProviderRejected("the simulated cloud refused the request", details=details)
    return ProviderError("the simulated cloud gave an unexpected answer", details=details)


def no_answer(error: httpx.HTTPError) -> ProviderUnavailable:
    """No answer, or half of one. The request may have been carried out. Of what stands in the way it is said what it is."""
    in_the_way = f": {error}" if isinstance(error, httpx.ProxyError) else ""
    return ProviderUnavailable(
        f"no answer from the simulated cloud{in_the_way}", details={"cause": type(error).__name__}
    )


def unreadable() -> ProviderUnavailable:
    """A success whose body makes no sense. The request was probably carried out."""
    return ProviderUnavailable("the answer of the simulated cloud could not be read")


def endless() -> ProviderError:
    """A list whose next page is one that was read before."""
    return ProviderError("a list of the simulated cloud has no end", code="PROVIDER_LIST_ENDLESS")


def _code(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return ""
    return str(body.get("code", "")) if isinstance(body, dict) else ""


def _retry_after_s(response: httpx.Response) -> float | None:
    """The seconds that `Retry-After` asks for; None where there is none, or where it is a date or nonsense."""
    text = response.headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S) if math.isfinite(seconds) else None
