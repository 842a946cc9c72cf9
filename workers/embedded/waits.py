"""What operations wait for, what holds them and which alarms are open, as `status` says it: in the language of the person."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from models.domain.sentences import said_of_error, said_of_hold, said_of_wait, wait_of_row
from models.domain.words import Language, Phrase
from models.settings import Settings
from workers.embedded.fleet.unowned import connected

SHOWN: Final = 20
"""Most operations that are listed, the oldest first: `quarterdeck operations` has all of one's own."""

WAITING: Final = "SELECT * FROM waiting_operations(%s)"

OPERATION: Final = Phrase("Operation {id} ({kind})", "Opération {id} ({kind})")
WAITS: Final = Phrase(" waits for {what}{since}", " attend {what}{since}")
HELD: Final = Phrase(", held: {what} ({code}){since}", ", retenue : {what} ({code}){since}")
SINCE: Final = Phrase(", since {moment} UTC", ", depuis {moment} UTC")
MORE: Final = Phrase("and {count} more operations that wait", "et {count} autres opérations qui attendent")
ALARM: Final = Phrase("Alarm: {what}, open: {count}", "Alerte : {what}, en cours : {count}")
DEGRADED: Final = Phrase("Degraded: {what}", "Dégradé : {what}")


@dataclass(frozen=True)
class WaitingOperation:
    """As its row has it: codes. One of both, `waiting_on` and `held_code`, is there."""

    operation_id: UUID
    kind: str
    resource_kind: str
    resource_id: UUID
    waiting_on: str | None
    waiting_params: dict[str, object] | None
    waiting_since: datetime | None
    held_code: str | None
    held_since: datetime | None

    def said(self, language: Language) -> str:
        """One line."""
        line = OPERATION.said(language, {"id": self.operation_id, "kind": self.kind})
        if self.waiting_on is not None:
            what = said_of_wait(*wait_of_row(self.waiting_on, self.waiting_params), language)
            line += WAITS.said(language, {"what": what, "since": _since(self.waiting_since, language)})
        if self.held_code is not None:
            what, since = said_of_hold(self.held_code, language), _since(self.held_since, language)
            line += HELD.said(language, {"what": what, "code": self.held_code, "since": since})
        return line

    def as_json(self) -> dict[str, Any]:
        """As the API has it, without sentences."""
        waits, held = None, None
        if self.waiting_on is not None:
            code, params = wait_of_row(self.waiting_on, self.waiting_params)
            waits = {"code": code, "params": dict(params), "since": _moment(self.waiting_since)}
        if self.held_code is not None:
            held = {"code": self.held_code, "since": _moment(self.held_since)}
        return {
            "operation_id": str(self.operation_id),
            "kind": self.kind,
            "resource": {"kind": self.resource_kind, "id": str(self.resource_id)},
            "waiting_on": waits,
            "held": held,
        }


@dataclass(frozen=True)
class Waits:
    """The oldest SHOWN of `total`."""

    operations: list[WaitingOperation]
    total: int

    def said(self, language: Language) -> list[str]:
        """A line each, and one for those that are not listed."""
        left = self.total - len(self.operations)
        rest = [MORE.said(language, {"count": left})] if left else []
        return [*(one.said(language) for one in self.operations), *rest]


def waits(settings: Settings) -> Waits:
    """Those of every organization. Raises StartError where the database cannot be asked."""
    with connected(settings) as connection:
        rows = connection.execute(WAITING, [SHOWN]).fetchall()
    total = rows[0]["total"] if rows else 0
    return Waits([WaitingOperation(**{key: row[key] for key in row if key != "total"}) for row in rows], total)


def said_of_health(alarms: Mapping[str, int], reasons: list[str], language: Language) -> list[str]:
    """What `/health` has as codes: a line for each alarm, and for each reason that is none."""
    lines = [
        ALARM.said(language, {"what": _said(code, language), "count": count}) for code, count in sorted(alarms.items())
    ]
    rest = (code for code in reasons if code not in alarms)
    return lines + [DEGRADED.said(language, {"what": _said(code, language)}) for code in rest]


def _said(code: str, language: Language) -> str:
    """A code of a newer API stays one."""
    said = said_of_error(code, language)
    return code if said is None else f"{said} ({code})"


def _since(moment: datetime | None, language: Language) -> str:
    return "" if moment is None else SINCE.said(language, {"moment": f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"})


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()
