"""HTTP to the API: patience with a restart, and every refusal as one kind of failure."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx

from cli.connection import Connection
from cli.failures import CommandFailed, ExitCode, exit_code_of, wrong_usage
from cli.way_out import PROXY_WANTS_CREDENTIALS, way_to

PATIENCE_S = 10.0
"""How long an API that does not answer is tried again: longer than one takes to restart."""
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 1.0
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0
STREAM_SILENCE_S = 45.0
"""Longest silence on a stream of events: three of the keep-alives that the API sends every 15 s (contract/fleet.md 12)."""
GENERATION_SILENCE_S = 300.0
"""Longest wait for the next piece of a generated text: the API's own read time-out (contract/fleet.md 6.3)."""

REPEATABLE_METHODS = frozenset({"GET", "PUT", "DELETE"})
IS_IT_RUNNING = "Is `quarterdeck up` running? `quarterdeck doctor` looks for what is wrong."
WORTH_WAITING = frozenset({409, 429, 503})
"""Refusals that pass by themselves, when the API says after how long (`Retry-After`)."""


class Api:
    """A connection to one API. `notice` is told, once per outage, that a request is being tried again."""

    def __init__(self, connection: Connection, notice: Callable[[str], None]) -> None:
        self.connection = connection
        self.notice = notice
        self._way = way_to(connection.url)
        try:
            self._http = httpx.Client(
                base_url=connection.url,
                headers={"authorization": f"Bearer {connection.key}", "user-agent": "quarterdeck-cli"},
                timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
                trust_env=False,  # `_way` has what of it is wanted; a netrc file's password would take the key's place
                proxy=self._way.proxy_url,
                verify=self._way.authorities,
            )
        except httpx.InvalidURL:
            raise wrong_usage(f"{connection.url} is not the address of an API", code="BAD_API_URL") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **params: str | int | None) -> dict[str, Any]:
        """The JSON object at `path`; parameters that are None are left out. Raises CommandFailed."""
        body = self._read(path, params)
        if not isinstance(body, dict):
            raise unexpected(self.connection.url)
        return body

    def get_list(self, path: str, **params: str | int | None) -> list[dict[str, Any]]:
        """The JSON array at `path`. Raises CommandFailed."""
        body = self._read(path, params)
        if not isinstance(body, list):
            raise unexpected(self.connection.url)
        return body

    def send(
        self, method: str, path: str, *, body: Mapping[str, object] | None = None, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """The JSON object of a success; empty when it has none. Raises CommandFailed.

        An API that does not answer is tried for PATIENCE_S, but what may have been received only if it can be repeated:
        PUT, DELETE, and whatever carries an idempotency key.
        """
        try:
            answer = self._request(method, path, None, body, idempotency_key)
        except KeyboardInterrupt:
            raise CommandFailed(
                "interrupted before the API answered",
                code="INTERRUPTED",
                exit_code=ExitCode.INTERRUPTED,
                hints=_unknown_outcome(idempotency_key),
            ) from None
        return answer if isinstance(answer, dict) else {}

    def _read(self, path: str, params: Mapping[str, str | int | None]) -> Any:
        given = {name: value for name, value in params.items() if value is not None}
        return self._request("GET", path, given, None, None)

    def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None,
        body: Mapping[str, object] | None,
        idempotency_key: str | None,
    ) -> Any:
        repeatable = method in REPEATABLE_METHODS or idempotency_key is not None
        headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
        outage = Outage(self.connection.url, self.notice)
        while True:
            try:
                response = self._http.request(method, path, params=params, json=body, headers=headers)
            except httpx.TransportError as error:
                may_try_again = (repeatable or never_sent(error)) and not self._way.is_blocked(error)
                if not may_try_again or not outage.pause():
                    raise self._unanswered(error, method, idempotency_key) from None
                continue
            if response.is_success:
                return self._body_of(response)
            if repeatable and response.status_code in WORTH_WAITING and outage.pause(retry_after_s(response)):
                continue
            raise self._problem_of(response)

    def _body_of(self, response: httpx.Response) -> Any:
        if not response.content:
            return None
        try:
            return json.loads(response.content)
        except ValueError:
            # A few successes of the contract are a word of plain text; a page of HTML comes from some other server.
            if response.headers.get("content-type", "").startswith("text/plain"):
                return None
            raise unexpected(self.connection.url) from None

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        silence_s: float = STREAM_SILENCE_S,
    ) -> Iterator[httpx.Response]:
        """A response whose body is still to come; leaving the block closes it, which tells the API to stop.

        Tried once. Raises CommandFailed for a refusal, httpx.TransportError when the connection fails.
        """
        request = self._http.build_request(
            method,
            path,
            params=params,
            json=body,
            headers={"accept": "text/event-stream", **(headers or {})},
            timeout=httpx.Timeout(silence_s, connect=CONNECT_TIMEOUT_S),
        )
        response = self._http.send(request, stream=True)
        try:
            if not response.is_success:
                response.read()
                raise self._problem_of(response)
            yield response
        finally:
            response.close()

    def unreachable(self, error: httpx.TransportError, *, hints: Sequence[str] = (IS_IT_RUNNING,)) -> CommandFailed:
        """The failure for a connection that could not be made or broke; the reason in this program's own words."""
        return CommandFailed(
            f"the API at {self.connection.url} cannot be reached: {self._way.reason(error)}",
            code="API_UNREACHABLE",
            hints=self._way.hints(error) or hints,
        )

    def _unanswered(self, error: httpx.TransportError, method: str, idempotency_key: str | None) -> CommandFailed:
        unknown = not never_sent(error) and method != "GET"
        return self.unreachable(error, hints=_unknown_outcome(idempotency_key) if unknown else (IS_IT_RUNNING,))

    def _problem_of(self, response: httpx.Response) -> CommandFailed:
        """With the proxy's name where it may be the proxy that answered."""
        failure = problem_of(response)
        proxy = self._way.proxy
        if proxy is not None and response.status_code == PROXY_WANTS_CREDENTIALS:
            failure.message = f"{proxy}, {proxy.address}, refused ({response.status_code})"
        elif proxy is not None and failure.code == f"HTTP_{response.status_code}":
            failure.message += f", through {proxy}, {proxy.address}"
        return failure


class Outage:
    """The pauses between the tries of one request: growing, and PATIENCE_S long from the first failure on."""

    def __init__(self, url: str, notice: Callable[[str], None]) -> None:
        self._url, self._notice = url, notice
        self._ends_at: float | None = None
        self._pause_s = FIRST_PAUSE_S

    def pause(self, asked_s: float | None = 0.0) -> bool:
        """Sleeps and answers True, or answers False when patience is over (`asked_s` None: at once)."""
        now = time.monotonic()
        if self._ends_at is None:
            self._ends_at = now + PATIENCE_S
        if asked_s is None or now + asked_s >= self._ends_at:
            return False
        if self._pause_s == FIRST_PAUSE_S:
            self._notice(f"Waiting for {self._url}: trying again for {PATIENCE_S:.0f} s …")
        time.sleep(min(max(self._pause_s, asked_s), self._ends_at - now))
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        return True


def never_sent(error: httpx.TransportError) -> bool:
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol | httpx.ProxyError)


def retry_after_s(response: httpx.Response) -> float | None:
    """Seconds of `Retry-After`; None when the API named none."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else None


def problem_of(response: httpx.Response) -> CommandFailed:
    """The failure that an error answer describes, whichever surface wrote it (problem, OpenAI, stacks)."""
    try:
        body = json.loads(response.content)
    except ValueError:
        body = None
    document: dict[str, Any] = body if isinstance(body, dict) else {}
    inner: dict[str, Any] = document["error"] if isinstance(document.get("error"), dict) else document
    message = next(
        (inner[name] for name in ("error", "message", "detail", "title") if isinstance(inner.get(name), str)),
        f"the API answered {response.status_code} {response.reason_phrase}".rstrip(),
    )
    code = inner.get("code") or inner.get("type")
    details = inner.get("details")
    hints = []
    if isinstance(document.get("instance_id"), str):
        hints.append(f"The refused order is kept: quarterdeck instance {document['instance_id']}")
    if response.status_code == 401:
        hints.append("`quarterdeck whoami` shows where the key comes from; QUARTERDECK_API_KEY sets another.")
    return CommandFailed(
        message,
        code=code if isinstance(code, str) else f"HTTP_{response.status_code}",
        exit_code=exit_code_of(response.status_code, code if isinstance(code, str) else None),
        status=response.status_code,
        request_id=_text(document.get("request_id")) or response.headers.get("x-request-id"),
        details=details if isinstance(details, dict) else {"details": details} if details else {},
        hints=hints,
    )


def unexpected(url: str) -> CommandFailed:
    """The failure for a success that Quarterdeck's API would not have given."""
    return CommandFailed(
        f"{url} answered, but not as Quarterdeck's API does",
        code="NOT_THE_API",
        hints=["Check --api-url or QUARTERDECK_API_URL."],
    )


def _unknown_outcome(idempotency_key: str | None) -> list[str]:
    hints = ["Whether the API accepted the request is not known."]
    if idempotency_key:
        hints.append(f"The same command with --idempotency-key {idempotency_key} finds out and does nothing twice.")
    return hints


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
