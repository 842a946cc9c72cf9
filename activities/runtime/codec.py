"""Encryption of everything that Temporal stores for us: arguments, results, signals, failures, memos, summaries.

The whole payload is sealed, its encoding metadata included. In clear remain the encoding name, the format, the id of the key
and the place: namespace and workflow id. The seal covers them all, and a payload opens only at its place.
Decision records: docs/decisions/0010-payload-codec.md, 0030-sealed-to-their-place.md.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ActivitySerializationContext,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)

from activities.runtime.keyring import DoesNotOpen, KeyRing
from activities.runtime.refusal import NULL_ENCODING, refused
from models.base.errors import AppError

logger = logging.getLogger(__name__)

ENCODING: Final = b"binary/encrypted"
KEY_ID_FIELD: Final = "quarterdeck-key"
FORMAT_FIELD: Final = "quarterdeck-format"
NAMESPACE_FIELD: Final = "quarterdeck-namespace"
WORKFLOW_FIELD: Final = "quarterdeck-workflow"
VOUCHERS_FIELD: Final = "quarterdeck-vouchers"
FORMAT: Final = b"2"
UNBOUND_TAG, TAG = b"quarterdeck payload 1", b"quarterdeck payload 2"
"""Format 1, which has no field for it, was bound to no place."""

KEY_ID: Final = re.compile(r"[0-9a-f]{16}")
SCHEDULED: Final = re.compile(r"-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
"""What the server appends to a schedule's workflow id: the nominal time in RFC 3339, in UTC, to the second."""


TIME_LENGTH: Final = len("-2026-11-27T04:14:00Z")
OF_RUN_BEFORE: Final = "it is sealed for the run before of its schedule"
"""What the server hands each run of a schedule: what the run before it answered with. Nobody asks for it."""


class PayloadKeyUnknown(AppError):
    """A payload was sealed under a key that this process was not given. Retrying cannot help; giving it the key does.

    Deliberately no `ApplicationError`: the SDK ends a workflow whose input fails to decode with a non-retryable one, and the
    owner of a machine must outlive a configuration mistake. So its task fails and is tried again until the key is back.
    """

    code = "PAYLOAD_KEY_UNKNOWN"


class PayloadCorrupt(AppError):
    """A payload does not open under the key that it names: it was damaged, or made by someone without the key."""

    code = "PAYLOAD_CORRUPT"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a payload belongs. Without a workflow it belongs nowhere, and opens nowhere."""

    namespace: str = ""
    workflow_id: str = ""

    def admits(self, claimed: "Place") -> bool:
        """Whether what is sealed for `claimed` opens here: at its own place, or in a run of the schedule it was sealed for."""
        if not self.workflow_id or self.namespace != claimed.namespace or not claimed.workflow_id:
            return False
        return self.workflow_id == claimed.workflow_id or is_scheduled_run(self.workflow_id, claimed.workflow_id)

    def is_run_after(self, other: "Place") -> bool:
        """Whether both are runs of one schedule, the other one's before this."""
        here, there = self.workflow_id[:-TIME_LENGTH], other.workflow_id[:-TIME_LENGTH]
        return (
            self.namespace == other.namespace
            and here == there
            and is_scheduled_run(self.workflow_id, here)
            and is_scheduled_run(other.workflow_id, there)
            and other.workflow_id < self.workflow_id
        )


NOWHERE: Final = Place()


def is_scheduled_run(workflow_id: str, schedule_workflow_id: str) -> bool:
    """Whether the server made the one id of the other: exactly by appending a time that exists."""
    if not workflow_id.startswith(schedule_workflow_id):
        return False
    suffix = workflow_id[len(schedule_workflow_id) :]
    if SCHEDULED.fullmatch(suffix) is None:
        return False
    try:
        datetime.fromisoformat(suffix[1:])
    except ValueError:
        return False
    return True


class Runs(Protocol):
    """What the server knows of the run that has a workflow id now."""

    async def is_open_since_before_sealing(self, place: Place) -> bool:
        """Whether a run of it is open that began before this installation sealed payloads to their place."""

    async def start_of(self, place: Place) -> Sequence[Payload]:
        """The payloads that the latest run of it began with, as the server keeps them; none where there is no run."""


class _Shared:
    """What the codecs of one process have in common, however many places they are for."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring
        self.runs: Runs | None = None


class EncryptionCodec(PayloadCodec, WithSerializationContext):
    """Seals for the place that the SDK names, and opens what is sealed for it; everything else is refused (`refusal.py`).

    To rotate: first give every process both keys, with the old one as current; then start them with the new one as current
    and the old one as previous; drop the old one when the retention of the last workflow that began under it has passed.
    """

    def __init__(self, key: bytes, previous: Sequence[bytes] = ()) -> None:
        self._shared = _Shared(KeyRing(key, previous))
        self._place, self._takes_null = NOWHERE, True

    def ask_of_runs(self, runs: Runs) -> None:
        """From now on the server is asked about runs. Until then format 1 is refused, and any missing key may be ours."""
        self._shared.runs = runs

    def with_context(self, context: SerializationContext) -> "EncryptionCodec":
        """This codec at the context's place; it shares all but that."""
        copy = object.__new__(EncryptionCodec)
        copy._shared, copy._place = self._shared, _place_of(context)
        copy._takes_null = not isinstance(context, ActivitySerializationContext)
        return copy

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._seal(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises PayloadKeyUnknown, for a payload of this place whose key may be one of this installation's."""
        return [await self._open(payload) for payload in payloads]

    def decode_by_claim(self, payloads: Sequence[Payload]) -> list[Payload]:
        """For reading: each payload opens at the place that it claims. What is in clear comes back as it is.

        Raises PayloadKeyUnknown, PayloadCorrupt.
        """
        return [self._read(payload) for payload in payloads]

    def _seal(self, payload: Payload) -> Payload:
        ring = self._shared.ring
        metadata = {
            "encoding": ENCODING,
            FORMAT_FIELD: FORMAT,
            KEY_ID_FIELD: ring.current.encode(),
            NAMESPACE_FIELD: self._place.namespace.encode(),
            WORKFLOW_FIELD: self._place.workflow_id.encode(),
        }
        if ring.vouchers:
            metadata[VOUCHERS_FIELD] = ring.vouchers
        return Payload(metadata=metadata, data=ring.seal(payload.SerializeToString(), _additional(metadata)))

    async def _open(self, payload: Payload) -> Payload:
        is_null = payload.metadata.get("encoding") == NULL_ENCODING and not payload.data
        if is_null and self._takes_null:  # of an activity it would be a statement: "there is no such machine"
            return payload
        reason = await self._objection(payload)
        if reason is None:
            try:
                return _unsealed(self._shared.ring, payload)
            except DoesNotOpen:
                reason = "it does not open under the key that it names"
        place = self._place.workflow_id or "an activity without a workflow"
        level = logging.DEBUG if reason is OF_RUN_BEFORE else logging.ERROR
        logger.log(level, "a payload for %s in namespace %s is refused: %s", place, self._place.namespace, reason)
        return refused(reason)

    async def _objection(self, payload: Payload) -> str | None:
        """Why the payload is not even tried. Raises PayloadKeyUnknown."""
        if payload.metadata.get("encoding") != ENCODING:
            return "it is not sealed"
        if FORMAT_FIELD in payload.metadata:
            if not self._place.admits(claim := _claim(payload)):
                return OF_RUN_BEFORE if self._place.is_run_after(claim) else "it is sealed for another place"
        elif not await self._admits_unbound():
            return "it is bound to no place, as those of older runs were"
        if self._shared.ring.has(_key_named(payload)):
            return None
        if await self._may_be_ours(payload):
            raise self._key_unknown(payload)
        return "it is sealed under a key that this installation never had"

    async def _admits_unbound(self) -> bool:
        runs = self._shared.runs
        return (
            runs is not None and bool(self._place.workflow_id) and await runs.is_open_since_before_sealing(self._place)
        )

    async def _may_be_ours(self, payload: Payload) -> bool:
        """Whether a key that we lack may be this installation's. Anybody can write the name of one that it never had.

        A key that is newer than ours is vouched for by an older one. An older one was in use when the run began, or not at all
        since: it is missed when what the run itself began with is sealed under a key that we lack.
        """
        name, ring, runs = _key_named(payload), self._shared.ring, self._shared.runs
        if KEY_ID.fullmatch(name) is None:
            return False
        if runs is None or ring.is_vouched_for(name, payload.metadata.get(VOUCHERS_FIELD, b"")):
            return True
        start = await runs.start_of(self._place)
        return any(each.metadata.get("encoding") == ENCODING and not ring.has(_key_named(each)) for each in start)

    def _read(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        if not self._shared.ring.has(_key_named(payload)):
            raise self._key_unknown(payload)
        try:
            return _unsealed(self._shared.ring, payload)
        except DoesNotOpen:
            raise PayloadCorrupt(
                f"a payload under key {_key_named(payload)!r} does not open: it was altered or cut short"
            ) from None

    def _key_unknown(self, payload: Payload) -> PayloadKeyUnknown:
        return PayloadKeyUnknown(
            f"a payload is sealed under key {_key_named(payload)!r}, and this process has "
            f"{', '.join(self._shared.ring.names)}: "
            "set QUARTERDECK_INSTALLATION_KEY_PREVIOUS to the installation key of that time"
        )


def _place_of(context: SerializationContext) -> Place:
    if isinstance(context, WorkflowSerializationContext | ActivitySerializationContext):
        return Place(context.namespace, context.workflow_id) if context.workflow_id else NOWHERE
    return NOWHERE  # Nexus is not used here


def _key_named(payload: Payload) -> str:
    return payload.metadata.get(KEY_ID_FIELD, b"").decode("ascii", "replace")[:16]


def _claim(payload: Payload) -> Place:
    namespace, workflow_id = (payload.metadata.get(field, b"") for field in (NAMESPACE_FIELD, WORKFLOW_FIELD))
    return Place(namespace.decode("utf-8", "replace"), workflow_id.decode("utf-8", "replace"))


def _unsealed(ring: KeyRing, payload: Payload) -> Payload:
    """Raises DoesNotOpen."""
    opened = ring.open(_key_named(payload), payload.data, _additional(payload.metadata))
    try:
        return Payload.FromString(opened)
    except DecodeError:
        raise DoesNotOpen from None


def _additional(metadata: Mapping[str, bytes]) -> bytes:
    """What the seal covers beside the content. Lengths go before fields: no two sets of fields read the same."""
    if FORMAT_FIELD not in metadata:
        return UNBOUND_TAG + metadata.get(KEY_ID_FIELD, b"")
    fields = [metadata.get(name, b"") for name in (FORMAT_FIELD, KEY_ID_FIELD, NAMESPACE_FIELD, WORKFLOW_FIELD)]
    return TAG + b"".join(len(field).to_bytes(4, "big") + field for field in fields)
