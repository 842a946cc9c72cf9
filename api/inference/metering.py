"""The record of each request: in the journal before the model server is called, kept up while it streams, closed once."""

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import orjson

from models.base.errors import ServiceUnavailable
from models.domain.identity.principal import Principal
from models.domain.inference.calls import Call
from models.domain.inference.records import InferenceOutcome, UsageSource
from models.domain.inference.resolution import CatalogModel
from models.domain.inference.routing import Route
from models.domain.inference.taps import Tap
from models.repositories.database_clock import DatabaseClock

logger = logging.getLogger(__name__)

PROGRESS_INTERVAL_S = 0.5
PROGRESS_CHUNKS = 32
DISK_RETRY_AFTER_S = 5.0
JSON_OPTIONS = orjson.OPT_UTC_Z
ESTIMATED, REPORTED = UsageSource.ESTIMATED.value, UsageSource.REPORTED.value


class Journal(Protocol):
    """Where records go; every method raises OSError when the disk refuses."""

    @property
    def is_refused(self) -> bool: ...
    def try_disk(self) -> None: ...
    def opened(self, record_id: str, json: bytes) -> None: ...
    def progress(self, record_id: str, json: bytes) -> None: ...
    def closed(self, record_id: str, json: bytes) -> None: ...


@dataclass(slots=True)
class Asked:
    """A request that was understood: by whom, for which model. `input_tokens` is an estimate."""

    request_id: str
    principal: Principal
    call: Call
    model: CatalogModel
    input_tokens: int
    session: str | None = None

    def upstream_headers(self) -> dict[str, str]:
        """What goes to the model server besides the body: never anything the caller proves itself with."""
        headers = {"X-Request-Id": self.request_id}
        if self.session is not None:
            headers["X-Quarterdeck-Session"] = self.session
        return headers


class Record:
    """One call of one model server. Whoever opens it closes it; closing again changes nothing."""

    __slots__ = (
        "_began_at_s", "_chunks", "_journal", "_noted_at_s", "_opened", "_started_at", "_unwritten", "first_byte_at", "id",
        "is_closed",
    )  # fmt: skip

    def __init__(
        self, record_id: str, started_at: datetime, opened: bytes, journal: Journal, unwritten: dict[str, bytes]
    ) -> None:
        self.id = record_id
        self._started_at, self._began_at_s = started_at, time.monotonic()
        self.first_byte_at: datetime | None = None
        self.is_closed = False
        self._opened = opened
        self._journal = journal
        self._unwritten = unwritten
        self._chunks = 0
        self._noted_at_s = 0.0

    def passed(self, tap: Tap) -> None:
        """A chunk of a stream went on to the caller: noted at the first, then every 32 chunks or half second at most."""
        self._chunks += 1
        now_s = time.monotonic()
        if self.first_byte_at is None:
            self.first_byte_at = self._now()
        elif self._chunks < PROGRESS_CHUNKS and now_s - self._noted_at_s < PROGRESS_INTERVAL_S:
            return
        self._chunks, self._noted_at_s = 0, now_s
        note = {
            "id": self.id, "output_tokens": _output_tokens(tap), "first_byte_at": self.first_byte_at, "at": self._now()
        }  # fmt: skip
        try:
            self._journal.progress(self.id, orjson.dumps(note, option=JSON_OPTIONS))
        except OSError as error:  # the record itself is safe; only a crash right now would count less
            logger.warning("progress of record %s could not be journalled (%s)", self.id, type(error).__name__)

    def _now(self) -> datetime:
        """As long after the beginning as has been measured: a clock that is set meanwhile changes no duration."""
        return self._started_at + timedelta(seconds=time.monotonic() - self._began_at_s)

    def close(
        self,
        outcome: InferenceOutcome,
        *,
        http_status: int | None = None,
        tap: Tap | None = None,
        retried_as: str | None = None,
    ) -> None:
        """With the usage the server reported, else what can be told from what has passed. A refused call has used nothing."""
        if self.is_closed:
            return
        self.is_closed = True
        fields: dict[str, Any] = {
            "outcome": outcome.value,
            "http_status": http_status,
            "first_byte_at": self.first_byte_at,
            "completed_at": self._now(),
            "retried_as": retried_as,
        }
        usage = tap.usage if tap is not None else None
        if usage is not None:
            fields["usage_source"] = REPORTED
            fields["input_tokens"], fields["output_tokens"] = usage.input_tokens, usage.output_tokens
        elif outcome is InferenceOutcome.FAILED and self.first_byte_at is None:
            fields["input_tokens"] = fields["output_tokens"] = 0
        elif tap is not None:
            fields["output_tokens"] = tap.output_tokens
        # The closed record is the opened one with these added; of a name that is there twice, PostgreSQL takes the last.
        json = b"%b,%b" % (self._opened[:-1], orjson.dumps(fields, option=JSON_OPTIONS)[1:])
        try:
            self._journal.closed(self.id, json)
        except OSError as error:
            self._unwritten[self.id] = json
            logger.error("record %s waits for the disk (%s)", self.id, type(error).__name__)  # noqa: TRY400


class Meter:
    """Opens records. While the disk refuses them nothing is spent: the request is answered with 503."""

    def __init__(self, journal: Journal, clock: DatabaseClock) -> None:
        self._journal, self._clock = journal, clock
        self._unwritten: dict[str, bytes] = {}
        self._was_refused = False

    @property
    def is_refused(self) -> bool:
        """Whether the disk takes no records, as far as the last one, or the last trial, tells."""
        return self._journal.is_refused

    def open(self, record_id: str, asked: Asked, route: Route) -> Record:
        """Raises ServiceUnavailable (`METERING_UNAVAILABLE`)."""
        principal, model, call = asked.principal, asked.model, asked.call
        started_at = self._clock.now()
        fields: dict[str, Any] = {
            "id": record_id,
            "request_id": asked.request_id,
            "organization_id": principal.organization_id,
            "user_id": principal.user_id,
            "api_key_id": principal.api_key_id,
            "model_id": model.id,
            "model": model.model_id,
            "instance_id": route.instance_id,
            "endpoint": call.endpoint.value,
            "is_stream": call.is_stream,
            "input_tokens": asked.input_tokens,
            "output_tokens": 0,
            "usage_source": ESTIMATED,
            "started_at": started_at,
        }
        json = orjson.dumps(fields, option=JSON_OPTIONS)
        try:
            self._journal.opened(record_id, json)
        except OSError as error:
            raise ServiceUnavailable(
                "requests cannot be recorded at the moment, so none is taken; try again shortly",
                code="METERING_UNAVAILABLE",
                retry_after_s=DISK_RETRY_AFTER_S,
            ) from error
        return Record(record_id, started_at, json, self._journal, self._unwritten)

    def write_what_waits(self) -> None:
        """Try again to journal the closed records that the disk refused. No more can wait than requests were open then.

        Its turns are logged: nobody need ask for an answer to learn that none can be recorded.
        """
        with suppress(OSError):
            for record_id, json in list(self._unwritten.items()):
                self._journal.closed(record_id, json)
                del self._unwritten[record_id]
            self._journal.try_disk()
        if self.is_refused is not self._was_refused:
            self._was_refused = self.is_refused
            if self._was_refused:
                logger.error("the disk takes no records of requests: none is served until it does")
            else:
                logger.info("the disk takes records of requests again")


def interrupted(opened: Mapping[str, Any], progress: Mapping[str, Any]) -> bytes:
    """The closed record of a request whose process died: as far as it got by its last note."""
    fields = {
        **opened,
        "outcome": InferenceOutcome.INTERRUPTED,
        "output_tokens": progress.get("output_tokens", 0),
        "usage_source": UsageSource.ESTIMATED,
        "first_byte_at": progress.get("first_byte_at"),
        "completed_at": progress.get("at", opened["started_at"]),
    }
    return orjson.dumps(fields, option=JSON_OPTIONS)


def _output_tokens(tap: Tap) -> int:
    return tap.usage.output_tokens if tap.usage is not None else tap.output_tokens
