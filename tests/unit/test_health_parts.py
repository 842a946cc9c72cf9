"""What families add to `GET /health`: typed, in their order, and each field and code of one of them."""

from types import SimpleNamespace
from typing import Any, Self, cast

import pytest

from api.health import Health, HealthFields, HealthPart
from api.state import AppState


class Kites(HealthFields):
    kites: int

    @classmethod
    def of(cls, state: AppState) -> Self:
        return cls(kites=cast("Any", state).kites)


class Boats(HealthFields):
    boats: str

    @classmethod
    def of(cls, _state: AppState) -> Self:
        return cls(boats="two")


def state(kites: int) -> AppState:
    pulse = SimpleNamespace(ailments=SimpleNamespace(stuck_messages=0))
    return cast("AppState", SimpleNamespace(kites=kites, pulse=pulse))


def kites_up(of: AppState) -> bool:
    return bool(cast("Any", of).kites)


PARTS = [HealthPart(fields=Kites, reasons={"KITE_LOST": kites_up}), HealthPart(), HealthPart(fields=Boats)]


def test_the_fields_of_families_stand_between_those_of_every_process() -> None:
    model = Health(PARTS).model
    assert list(model.model_fields)[6:] == ["stuck_messages", "kites", "boats", "alarms", "reasons"]
    schema = model.model_json_schema()
    assert (schema["properties"]["kites"]["type"], schema["properties"]["boats"]["type"]) == ("integer", "string")
    assert schema["$defs"]["Degradation"]["enum"] == ["MESSAGE_NOT_DELIVERED", "KITE_LOST"]


def test_each_family_says_its_own() -> None:
    health = Health(PARTS)
    assert health.of_families(state(3)) == {"kites": 3, "boats": "two"}
    assert (health.reasons(state(3)), health.reasons(state(0))) == (["KITE_LOST"], [])


@pytest.mark.parametrize(
    ("part", "what"),
    [
        (HealthPart(fields=Kites), "kites"),
        (HealthPart(reasons={"KITE_LOST": kites_up}), "KITE_LOST"),
        (HealthPart(reasons={"MESSAGE_NOT_DELIVERED": kites_up}), "MESSAGE_NOT_DELIVERED"),
    ],
)
def test_two_that_say_the_same_are_refused(part: HealthPart, what: str) -> None:
    with pytest.raises(TypeError, match=what):
        Health([*PARTS, part])
