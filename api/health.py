"""`GET /health` as families make it up: what each adds to the answer, and by what it calls the process degraded."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from pydantic import create_model

from api.schemas.base import ResponseModel
from api.schemas.system import HealthHead, HealthTail
from api.state import AppState

Reasons = Mapping[str, Callable[[AppState], bool]]
"""By a code of the family's errors, whether it is so at the moment. Asked for every answer: nothing here may wait."""

OF_EVERY_PROCESS: Final[Reasons] = {"MESSAGE_NOT_DELIVERED": lambda state: state.pulse.ailments.stuck_messages > 0}
"""`stuck_messages` of the outbox have not reached their workflows for ten minutes."""


class HealthFields(ResponseModel):
    """What a family adds to the answer: a subclass with the fields, and how they are found."""

    @classmethod
    def of(cls, _state: AppState) -> Self:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class HealthPart:
    """A family's part. Without `fields` it adds none."""

    fields: type[HealthFields] | None = None
    reasons: Reasons = field(default_factory=dict)


class Health:
    """The parts of all families in one. `model` is the answer's: its fields are those of every process, then the families', in
    their order.

    Raises TypeError where two claim one field or one reason.
    """

    def __init__(self, parts: Iterable[HealthPart]) -> None:
        listed = list(parts)
        self._fields = [part.fields for part in listed if part.fields is not None]
        self._reasons = dict(OF_EVERY_PROCESS)
        named = [*HealthHead.model_fields, *HealthTail.model_fields]
        for part in listed:
            own = list(part.fields.model_fields) if part.fields is not None else []
            if twice := {*named} & {*own} | self._reasons.keys() & part.reasons.keys():
                raise TypeError(f"two families say {', '.join(sorted(twice))} of the health")
            named += own
            self._reasons |= part.reasons
        self.model = _model(self._fields, self._reasons)

    @property
    def codes(self) -> Collection[str]:
        """What may be among the reasons."""
        return self._reasons.keys()

    def reasons(self, state: AppState) -> list[str]:
        return [code for code, is_so in self._reasons.items() if is_so(state)]

    def of_families(self, state: AppState) -> dict[str, Any]:
        """The values of their fields."""
        return {name: value for fields in self._fields for name, value in fields.of(state)}


def _model(fields: list[type[HealthFields]], reasons: Iterable[str]) -> type[ResponseModel]:
    degradation = StrEnum("Degradation", [(code, code) for code in reasons])  # type: ignore[misc]  # made of what families list
    degradation.__doc__ = "Why `degraded`, in the codes by which it is told elsewhere."
    bases = (HealthTail, *reversed(fields), HealthHead)  # fields are in the order of the bases, from the last on
    make: Any = create_model  # the type checker would have the bases as constants
    model: type[ResponseModel] = make(
        "Health",
        __base__=bases,
        __doc__="Both shapes of the contract in one (decision 8), and what is not as it should be.\n\n"
        "`degraded`: requests are answered, but for what `reasons` say.",
        reasons=(list[degradation], ...),
    )
    return model
