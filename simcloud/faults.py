"""Faults on request: rules that say which requests go wrong, how, how often.

A rule fires for a request of its class (and zone and type, where it names them), at most `count` times, each time with
`probability`. Its dice are a hash of its seed and the number of the throw: the same seed gives the same run, and a restart
goes on where the dice were.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from simcloud.database import Database
from simcloud.errors import Missing, Rejected


class RequestClass(StrEnum):
    CREATE = "create"
    DESCRIBE = "describe"
    LIST = "list"
    DELETE = "delete"
    REINSTALL = "reinstall"
    RESTART_AGENT = "restart_agent"
    VOLUMES = "volumes"


class Kind(StrEnum):
    ERROR_BEFORE = "error_before"  # 500, nothing was done
    ERROR_AFTER = "error_after"  # 500, yet it was carried out
    LOST_REQUEST = "lost_request"  # the connection drops, nothing was done
    LOST_RESPONSE = "lost_response"  # the connection drops, yet it was carried out
    THROTTLED = "throttled"  # 429 with Retry-After: retry_after_s
    SLOW = "slow"  # carried out at once, answered after delay_s
    FORBIDDEN = "forbidden_while_provisioning"  # 403 as long as the machine is in BUILD
    IGNORED = "ignored"  # 200, and nothing happens
    NO_CAPACITY = "no_capacity"
    HIDDEN = "describe_lag"  # neither list nor describe shows the new machine for lag_s
    STUCK = "stuck_in_build"
    BUILD_ERROR = "build_error"  # BUILD ends in ERROR
    SLOW_BUILD = "slow_build"  # BUILD takes delay_s
    SLOW_AGENT = "slow_start"  # ACTIVE in time, but the agent starts delay_s later
    PREEMPTED = "preempted"  # taken back delay_s after it became ACTIVE
    VOLUME_LEFT = "volume_left_behind"


EVERYWHERE = frozenset(
    {Kind.ERROR_BEFORE, Kind.ERROR_AFTER, Kind.LOST_REQUEST, Kind.LOST_RESPONSE, Kind.THROTTLED, Kind.SLOW}
)
KINDS: Mapping[RequestClass, frozenset[Kind]] = {
    RequestClass.CREATE: EVERYWHERE
    | {Kind.NO_CAPACITY, Kind.HIDDEN, Kind.STUCK, Kind.BUILD_ERROR, Kind.SLOW_BUILD, Kind.SLOW_AGENT, Kind.PREEMPTED},
    RequestClass.DESCRIBE: EVERYWHERE | {Kind.FORBIDDEN},
    RequestClass.LIST: EVERYWHERE,
    RequestClass.DELETE: EVERYWHERE | {Kind.FORBIDDEN, Kind.IGNORED, Kind.VOLUME_LEFT},
    RequestClass.REINSTALL: EVERYWHERE | {Kind.FORBIDDEN, Kind.IGNORED},
    RequestClass.RESTART_AGENT: EVERYWHERE | {Kind.FORBIDDEN, Kind.IGNORED},
    RequestClass.VOLUMES: EVERYWHERE | {Kind.IGNORED},
}
SETTINGS: Mapping[str, float] = {"delay_s": 1.0, "lag_s": 2.0, "retry_after_s": 1.0}
"""What a rule may set, in seconds, with defaults."""


@dataclass(frozen=True)
class FaultRule:
    request_class: RequestClass
    kind: Kind
    zone: str | None = None
    type: str | None = None
    remaining: int | None = None  # None: until it is taken away
    probability: float = 1.0
    seed: int = 0
    settings: Mapping[str, float] | None = None
    id: int = 0
    draws: int = 0
    fired: int = 0

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id, "class": self.request_class.value, "kind": self.kind.value, "zone": self.zone, "type": self.type,
            "remaining": self.remaining, "probability": self.probability, "seed": self.seed,
            "settings": dict(self.settings or {}), "fired": self.fired,
        }  # fmt: skip


class Effects(dict[Kind, Mapping[str, float]]):
    """What befalls one request: several kinds may come together, as a lost response to a create that is also hidden."""

    def seconds(self, kind: Kind, setting: str) -> float | None:
        """The setting of a kind that befell this request; None when it did not."""
        return self[kind].get(setting, SETTINGS[setting]) if kind in self else None


class Faults:
    def __init__(self, database: Database, seed: int) -> None:
        self._database = database
        self._seed = seed
        self._rules = {rule.id: rule for rule in (_rule(row) for row in database.rows("SELECT * FROM faults"))}

    def add(self, body: Mapping[str, Any]) -> FaultRule:
        """A rule from its JSON form. Raises Rejected for what no rule can mean."""
        values = _checked(body, default_seed=self._seed)
        new_id = self._database.run(
            "INSERT INTO faults (request_class, kind, zone, type, remaining, probability, seed, settings)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *values,
        )  # fmt: skip
        row = self._database.row("SELECT * FROM faults WHERE id = ?", new_id)
        if row is None:
            raise Missing("the fault vanished while it was stored")
        self._rules[new_id] = _rule(row)
        return self._rules[new_id]

    def all(self) -> list[FaultRule]:
        return list(self._rules.values())

    def remove(self, rule_id: int | None) -> None:
        """Take one rule away, or all. Raises Missing for an unknown one."""
        if rule_id is None:
            self._rules.clear()
            self._database.run("DELETE FROM faults")
            return
        if self._rules.pop(rule_id, None) is None:
            raise Missing(f"there is no fault {rule_id}")
        self._database.run("DELETE FROM faults WHERE id = ?", rule_id)

    def draw(
        self, request_class: RequestClass, *, zone: str | None, type_code: str | None, building: bool = False
    ) -> Effects:
        """Throw the dice for one request, and count what fires."""
        effects = Effects()
        for rule in list(self._rules.values()):
            if rule.kind in effects or not _applies(rule, request_class, zone, type_code, building=building):
                continue
            if self._fires(rule):
                effects[rule.kind] = rule.settings or {}
        return effects

    def _fires(self, rule: FaultRule) -> bool:
        fires = random.Random(f"{rule.seed}:{rule.draws}").random() < rule.probability  # noqa: S311 - dice, not a secret
        remaining = rule.remaining - 1 if fires and rule.remaining is not None else rule.remaining
        drawn = FaultRule(
            rule.request_class, rule.kind, rule.zone, rule.type, remaining, rule.probability, rule.seed, rule.settings,
            rule.id, rule.draws + 1, rule.fired + fires,
        )  # fmt: skip
        self._rules[rule.id] = drawn
        self._database.run(
            "UPDATE faults SET remaining = ?, draws = ?, fired = ? WHERE id = ?",
            remaining,
            drawn.draws,
            drawn.fired,
            rule.id,
        )
        return fires


def _applies(
    rule: FaultRule, request_class: RequestClass, zone: str | None, type_code: str | None, *, building: bool
) -> bool:
    return (
        rule.request_class is request_class
        and rule.remaining != 0
        and rule.zone in (None, zone)
        and rule.type in (None, type_code)
        and (building or rule.kind is not Kind.FORBIDDEN)
    )


def _checked(body: Mapping[str, Any], *, default_seed: int) -> tuple[object, ...]:
    known = {"class", "kind", "zone", "type", "count", "probability", "seed"} | set(SETTINGS)
    if unknown := set(body) - known:
        raise Rejected(f"unknown fields {sorted(unknown)}; a fault has {sorted(known)}")
    try:
        request_class, kind = RequestClass(body.get("class", "")), Kind(body.get("kind", ""))
        count = None if body.get("count") is None else int(body["count"])
        probability, seed = float(body.get("probability", 1.0)), int(body.get("seed", default_seed))
        settings = {name: float(body[name]) for name in SETTINGS if name in body}
    except (TypeError, ValueError) as error:
        raise Rejected(f"not a fault: {error}") from error
    if kind not in KINDS[request_class]:
        raise Rejected(f"class {request_class} has the kinds {sorted(KINDS[request_class])}")
    if (
        not 0.0 <= probability <= 1.0
        or (count is not None and count < 1)
        or any(not 0 <= s < 1e6 for s in settings.values())
    ):
        raise Rejected("probability is 0 to 1, count at least 1, and seconds are not negative")
    return (
        request_class.value, kind.value, _text(body.get("zone")), _text(body.get("type")), count, probability, seed,
        json.dumps(settings),
    )  # fmt: skip


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise Rejected("zone and type are texts")


def _rule(row: dict[str, Any]) -> FaultRule:
    return FaultRule(
        RequestClass(row["request_class"]), Kind(row["kind"]), row["zone"], row["type"], row["remaining"],
        row["probability"], row["seed"], json.loads(row["settings"]), row["id"], row["draws"], row["fired"],
    )  # fmt: skip
