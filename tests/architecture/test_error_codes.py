"""Every code that a failure can have is in the list of one family, with its sentence, and no list has one that is none."""

from collections import Counter
from functools import cache

from api.registry import FAMILIES as API_FAMILIES
from api.registry import HEALTH
from models.domain.sentences import FAMILIES
from tests.architecture.error_codes import Found, Use, codes_in, codes_in_sql
from tests.architecture.source import ROOT, Module, modules
from tests.architecture.test_families import NAMES, family_of

PRODUCT = ("api", "workflows", "activities", "delivery", "workers", "models")
"""Not the command line: what it refuses by itself it says in a sentence of its own."""

OTHER_VOCABULARIES = {
    "AttemptHeld": "what holds an owner",
    "Held": "what holds an owner",
    "note": "what holds an owner",
    "held_code": "what holds an owner",
    "said_of_hold": "what holds an owner",
    "Waiting": "what is waited for",
    "_waiting": "what is waited for",
    "waiting_on": "what is waited for",
    "show_wait": "what is waited for",
    "told_wait": "what is waited for",
    "wait_of_row": "what is waited for",
    "who_of_wait": "what is waited for",
    "said_of_wait": "what is waited for",
    "workers/embedded/waits.py": "what is waited for, and what holds an owner",
    "Question": "what a person is asked",
    "said_of_question": "what a person is asked",
    "Ending": "the number with which a socket is closed",
    "ProviderKind": "a row of the catalogue",
    "CatalogModel": "a row of the catalogue",
    "models/repositories/fleet/seeding.py": "rows of the catalogue",
    "refused_by_provider": "it is given what was found where it was raised",
    "api/__main__.py": "the number with which a process ends",
    "workers/__main__.py": "what a command says by itself, and the number with which it ends",
}
"""Callables and modules whose `code` is no error's."""

UNCLEAR = {
    ("activities/runtime/failures.py", "failure.type"): "it was raised, and found, on the other side of Temporal",
    ("activities/schedules.py", "error.details"): "Temporal's own status, in a result that nobody keeps",
    ("api/http/errors.py", "status.name"): "the framework's own refusals: their code is their HTTP status",
    ("api/http/errors.py", "failure.code.lower()"): "as OpenAI's clients know it",
    ("api/schemas/fleet/instances.py", "made_of.held_code"): "what holds an owner",
    ("api/schemas/operations.py", "row.held_code"): "what holds an owner",
    (
        "models/repositories/owned_table.py",
        "f'{kind.upper()}_NOT_FOUND'",
    ): "listed by the family of the kind, see below",
}
"""(module, what is given) -> why there is no text to be found."""

OTHERS_IN_SQL = frozenset(
    {"ALARM", "ALARM_CLEARED", "UNOWNED_MACHINE_ENDED", "SCHEDULED", "UPDATE", "UTC", "YYYYMMDDHH24MI"}
)
"""What else functions of the database say in capitals: types of actions, and what is SQL's own."""

ACROSS = {
    ("inference", "MODEL_NOT_FOUND"): "models are the catalogue's, whoever asks for one",
    ("inference", "MISSING_MODEL"): "as above",
}
"""(family of the module, code of another family) -> why."""


@cache
def in_product() -> Found:
    return codes_in(modules(*PRODUCT), elsewhere=OTHER_VOCABULARIES)


def in_sql() -> set[Use]:
    files = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "models" / "sql").rglob("*.sql")}
    return codes_in_sql(files, others=OTHERS_IN_SQL)


def uses() -> set[Use]:
    return in_product().uses | in_sql()


def listed() -> dict[str, str]:
    """Code -> family."""
    return {code: name for name, family in FAMILIES.items() for code in family.errors}


def test_every_code_is_in_a_list() -> None:
    assert [f"{use.at} {use.code}" for use in sorted(uses()) if use.code not in listed()] == []


def test_every_listed_code_is_used() -> None:
    assert listed().keys() - {use.code for use in uses()} == set()


def test_no_two_families_claim_the_same() -> None:
    claims = Counter(code for family in FAMILIES.values() for code in family.errors)
    assert [code for code, families in claims.items() if families > 1] == []


def test_the_lists_are_those_of_the_families() -> None:
    assert FAMILIES.keys() == NAMES | {"spine"} == {family.name for family in API_FAMILIES}


def test_a_familys_modules_use_its_own_and_what_every_family_has() -> None:
    across = {
        (own, use.code)
        for use in uses()
        if (own := family_of(use.path.removesuffix(".py").replace("/", "."))) is not None
        and listed().get(use.code) not in {own, "spine"}
    }
    assert across == ACROSS.keys()


def test_nothing_is_given_as_a_code_that_cannot_be_read_here() -> None:
    unclear = {(place.partition(":")[0], place.partition(" ")[2]) for place in in_product().unclear}
    assert unclear == UNCLEAR.keys()


def test_every_kind_of_resource_has_the_code_for_one_that_is_not_there() -> None:
    kinds = [kind for family in API_FAMILIES for kind in family.owners]
    assert [kind.noun for kind in kinds if f"{kind.resource_kind.upper()}_NOT_FOUND" not in listed()] == []


def test_what_degrades_a_process_has_its_sentence() -> None:
    assert HEALTH.codes - listed().keys() == set()


def codes(*texts: str) -> set[str]:
    return {use.code for use in codes_in(Module(f"somewhere/m{n}.py", text) for n, text in enumerate(texts)).uses}


def test_codes_are_found_wherever_they_are_given() -> None:
    assert codes("raise NotFound('x', code='GIVEN')") == {"GIVEN"}
    assert codes("class Lost(NotFound):\n  code = 'LOST'", "class NotFound(AppError): ...") == {"LOST"}
    assert codes("class Row(Table):\n  code = 'NONE'") == set()
    assert codes("def f(why, code): ...", "f('x', 'POSITIONAL')") == {"POSITIONAL"}
    assert codes("class Failure:\n  status: int\n  code: str", "Failure(404, 'OF_A_FIELD')") == {"OF_A_FIELD"}
    assert codes("class Meter:\n  def close(self, code): ...", "meter.close('OF_A_METHOD')") == {"OF_A_METHOD"}
    assert codes("async def f(row):\n  row.error_code = 'ON_A_ROW'") == {"ON_A_ROW"}
    assert codes("def f():\n  return {'error_code': 'IN_VALUES'}") == {"IN_VALUES"}
    assert codes("raise ApplicationError('x', type='OF_TEMPORAL')") == {"OF_TEMPORAL"}


def test_codes_are_followed_to_their_text() -> None:
    assert codes("LATE = 'NAMED'", "x(code=LATE)") == {"NAMED"}
    assert codes("class Hold(StrEnum):\n  AWAY = 'MEMBER'", "x(code=Hold.AWAY)") == {"MEMBER"}
    assert codes("def f(late):\n  code = 'ONE' if late else 'OTHER'\n  x(code=code)") == {"ONE", "OTHER"}
    assert codes("BY = {503: 'IN_A_TABLE'}\nx(code=BY.get(status, 'ELSE'))") == {"IN_A_TABLE", "ELSE"}
    assert codes("def why():\n  return 'RETURNED', 1\ndef f():\n  code, _ = why()") == {"RETURNED"}
    assert codes_in([Module("m.py", "x(code=f'{a}_B')")]).unclear == {"m.py:1 f'{a}_B'"}
    assert codes_in([Module("m.py", "x(code=row.kind)")]).unclear == {"m.py:1 row.kind"}
    assert codes_in([Module("m.py", "x(code=error.code)")]) == Found()


def test_codes_in_functions_of_the_database_are_found() -> None:
    text = "SELECT 1;\nPERFORM raise_alarm('AN_ALARM', 'x', 'ALARM');"
    assert codes_in_sql({"a.sql": text}, others={"ALARM"}) == {Use("AN_ALARM", "a.sql:2")}
