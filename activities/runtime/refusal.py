"""What becomes of a payload that is not ours to act on: an encoding of its own, which nothing converts.

A codec that raises fails the whole workflow task, which is tried again for ever: whoever can send a signal could hold an owner
so. The payload goes on instead, and converting it fails where it is used: a signal is dropped and logged by the SDK, a query or
update is answered with the failure, a workflow that starts with one fails, an activity is not run.
"""

from typing import Any, Final

from temporalio.api.common.v1 import Payload
from temporalio.converter import EncodingPayloadConverter
from temporalio.exceptions import ApplicationError

ENCODING: Final = "binary/quarterdeck-refused"
NULL_ENCODING: Final = b"binary/null"
CODE: Final = "PAYLOAD_REFUSED"


class PayloadRefused(ApplicationError):
    """Something used a payload that the codec had refused. A workflow whose input it is ends with it, as does an activity."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the payload is refused: {reason}", type=CODE, non_retryable=True)


def refused(reason: str) -> Payload:
    """What stands in for a refused payload. Nothing of the original is in it."""
    return Payload(metadata={"encoding": ENCODING.encode(), "reason": reason.encode()})


def is_refused(payload: Payload) -> bool:
    return payload.metadata.get("encoding") == ENCODING.encode()


class Refusing(EncodingPayloadConverter):
    """Converts nothing to the encoding, and raises for what has it."""

    @property
    def encoding(self) -> str:
        return ENCODING

    def to_payload(self, value: Any) -> Payload | None:
        return None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        raise PayloadRefused(payload.metadata.get("reason", b"").decode("utf-8", "replace"))
