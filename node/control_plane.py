"""The two calls to the control plane, and what their answers mean."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import aiohttp

from node.proxies import UnusableProxy, proxy_for

REGISTER_PATH = "/internal/worker/register"
HEARTBEAT_PATH = "/internal/worker/heartbeat"
CALL_TIMEOUT_S = 5.0
BACKOFF_FIRST_S = 0.5
BACKOFF_LONGEST_S = 15.0
REFUSALS = frozenset({401, 404})


class Refused(Exception):
    """The control plane does not (or no longer) want this agent: a bad token, or an instance it does not know."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the control plane answered {status}")
        self.status = status

    @property
    def is_of_token(self) -> bool:
        """Whether another token may be taken."""
        return self.status == 401


class Unreachable(Exception):
    """No usable answer. Trying again later can help; `retry_after_s` is what the control plane asked for, if it did."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Registration:
    worker_token: str = field(repr=False)
    serving_key: str = field(repr=False)
    heartbeat_interval_s: float | None = None


class Backoff:
    """Exponential with full jitter, so that a fleet does not return all at once after an outage."""

    def __init__(self) -> None:
        self._ceiling_s = BACKOFF_FIRST_S

    def reset(self) -> None:
        self._ceiling_s = BACKOFF_FIRST_S

    def next_delay_s(self, failure: Unreachable) -> float:
        ceiling_s, self._ceiling_s = self._ceiling_s, min(self._ceiling_s * 2, BACKOFF_LONGEST_S)
        delay_s = random.uniform(ceiling_s / 4, ceiling_s)  # noqa: S311 - spreading load, not a secret
        return max(delay_s, min(failure.retry_after_s or 0.0, BACKOFF_LONGEST_S))


class ControlPlane:
    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S), trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    async def register(self, token: str, body: Mapping[str, object]) -> Registration:
        """Raises Refused or Unreachable."""
        answer = await self._post(REGISTER_PATH, token, body)
        worker_token, serving_key = answer.get("bootstrap_token"), answer.get("serving_key")
        if not isinstance(worker_token, str) or not isinstance(serving_key, str) or not (worker_token and serving_key):
            raise Unreachable("the registration answer holds no token or no serving key")
        interval_s = answer.get("heartbeat_interval_s")
        usable = isinstance(interval_s, int | float) and interval_s > 0
        return Registration(worker_token, serving_key, float(interval_s) if usable else None)  # type: ignore[arg-type]

    async def heartbeat(self, token: str, body: Mapping[str, object]) -> None:
        """Raises Refused or Unreachable."""
        await self._post(HEARTBEAT_PATH, token, body)

    async def _post(self, path: str, token: str, body: Mapping[str, object]) -> dict[str, object]:
        if self._http is None:
            raise RuntimeError("the session is not open")
        try:
            proxy = proxy_for(self._base_url)
            async with self._http.post(
                self._base_url + path,
                json=body,
                headers={"Authorization": f"Bearer {token}"},
                allow_redirects=False,
                proxy=None if proxy is None else proxy.url,
            ) as response:
                if response.status in REFUSALS:
                    raise Refused(response.status)
                if response.status != 200:
                    raise Unreachable(f"the control plane answered {response.status}", _retry_after_s(response))
                answer = await response.json(content_type=None)
        except UnusableProxy as error:
            raise Unreachable(f"the control plane cannot be reached: {error}") from None
        except aiohttp.ClientProxyConnectionError:
            raise Unreachable(f"the control plane cannot be reached: {proxy} does not answer") from None
        except aiohttp.ClientHttpProxyError as error:
            raise Unreachable(f"the control plane cannot be reached: {proxy} refused ({error.status})") from None
        except aiohttp.ClientConnectorCertificateError:
            raise Unreachable(
                "the certificate of the control plane is not trusted; SSL_CERT_FILE names the authorities that are"
            ) from None
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unreachable(f"the control plane cannot be reached: {type(error).__name__}") from None
        return answer if isinstance(answer, dict) else {}


def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None
