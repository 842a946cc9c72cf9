"""How values become payloads: as JSON through Pydantic, with what they are and which activity said them written under the seal.

Who reaches Temporal cannot seal, but can put what was sealed for a workflow to another use there: have the activity that
removes a machine read what another looks for it with, or answer for an activity with what it said of an earlier boot.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final, get_args

from pydantic import BaseModel
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import CompositePayloadConverter, DefaultPayloadConverter, EncodingPayloadConverter

from activities.runtime.refusal import PayloadRefused, Refusing

MODEL_FIELD: Final = "quarterdeck-model"
"""`wire_name` of a payload's value."""
ACTIVITY_FIELD: Final = "quarterdeck-activity"
"""Of what an activity wrote: `said_by` of it."""


class PlatformPayloadConverter(CompositePayloadConverter):
    """Pydantic's converter, which takes one model for no other and says why a refused payload cannot be converted."""

    def __init__(self) -> None:
        super().__init__(*_converters())

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        payloads = super().to_payloads(values)
        if activity.in_activity():
            info = activity.info()
            for payload in payloads:
                payload.metadata[ACTIVITY_FIELD] = said_by(info.workflow_run_id or "", info.activity_id)
        return payloads


def wire_name(model: type[BaseModel]) -> str:
    """What payloads call it: its name, or its `WIRE_NAME`, which is the one it had when it was first sealed.

    A call that was ordered before an upgrade is carried out after it: under another name its input would be refused.
    """
    return getattr(model, "WIRE_NAME", model.__name__)


def said_by(run_id: str, activity_id: str) -> bytes:
    """How the payloads of an activity name it. Its id is the workflow's number for it, as text."""
    return f"{run_id}/{activity_id}".encode()


class _Named(PydanticJSONPlainPayloadConverter):
    """Models as themselves only. What names no model was sealed before they were named, and is read as ever."""

    def to_payload(self, value: Any) -> Payload | None:
        payload = super().to_payload(value)
        if payload is not None and isinstance(value, BaseModel):
            payload.metadata[MODEL_FIELD] = wire_name(type(value)).encode()
        return payload

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        named = payload.metadata.get(MODEL_FIELD, b"").decode("utf-8", "replace")
        wanted = set(_models(type_hint))
        if named and wanted and named not in wanted:
            raise PayloadRefused(f"it holds {named}, and not {' or '.join(sorted(wanted))}")
        return super().from_payload(payload, type_hint)


@cache
def _converters() -> tuple[EncodingPayloadConverter, ...]:
    """They keep nothing: the SDK makes a converter for every payload, which is to cost little."""
    json = _Named()
    others = [each for each in DefaultPayloadConverter().converters.values() if each.encoding != json.encoding]
    return *others, json, Refusing()


def _models(type_hint: Any) -> Iterator[str]:
    """Names of the models that a hint admits: of itself, or of the members of a union."""
    if isinstance(type_hint, type) and issubclass(type_hint, BaseModel):
        yield wire_name(type_hint)
    else:
        for each in get_args(type_hint):
            yield from _models(each)
