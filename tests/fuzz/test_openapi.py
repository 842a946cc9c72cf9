"""Every operation of the OpenAPI document, with requests that fit it and requests that do not, as three kinds of callers.

Nothing that is sent may bring a 5xx, a status or media type that the document does not have for the operation, or a body
that is not of its schema; what the document forbids must not be accepted. The requests are the same in every run: all of them for a
route that has changed since `make fuzz` passed, a sample for the others. `make fuzz` makes up other ones each time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, BaseSchema, Case
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.generation.meta import TestPhase

from tests.contract.ledger import RouteKey, routes_of
from tests.factories.unstarted import unstarted_app
from tests.fuzz.changed import EXPLORES, changed
from tests.fuzz.target import Target

EXAMPLES = 25
"""Random requests per operation and caller, besides the boundary values of each parameter."""

SAMPLE = 5
"""Of a route that has not changed: so many random requests, and one in so many of the boundary values."""

CALLERS = ["nobody", "member", "admin"]

STREAMS = ["/events/stream", "/operations/{operation_id}/events"]
"""They have no end: the head and the first event are read, then the connection is closed."""

EXCLUDED = {
    "GET /swagger-ui": "the documentation page, for people; not in the document",
    "GET /swagger-ui/{}": "its parts; not in the document",
    "GET /api/version": "the same as GET /version, under an older path; not in the document",
}
"""Routes that are not called, each with the reason."""


CHANGED = changed(unstarted_app())
IN_FULL = {"generation": {"max-examples": EXAMPLES}}
CONFIG = {
    "generation": {
        "max-examples": EXAMPLES if EXPLORES else SAMPLE,
        "deterministic": not EXPLORES,
        "with-security-parameters": False,
    },
    "operations": [{"include-name": label, **IN_FULL} for label in CHANGED],
}
everything = schemathesis.openapi.from_dict(unstarted_app().openapi(), config=SchemathesisConfig.from_dict(CONFIG))
everything.config.update(base_url="http://127.0.0.1:1")  # what is sent goes to the target; only the links need one

bounded = settings(
    derandomize=not EXPLORES,
    database=None,
    deadline=timedelta(seconds=20),
    suppress_health_check=list(HealthCheck),
)


def is_left_out(case: Case[Any], caller: str) -> bool:
    """Whether it is not of the sample: of a route that has not changed, four in five of what is there beside the random requests."""
    is_random = case.meta is not None and case.meta.phase.name is not TestPhase.COVERAGE
    if EXPLORES or is_random or case.operation.label in CHANGED:
        return False
    request = repr((caller, case.path_parameters, case.query, case.headers, case.body))
    return bool(zlib.crc32(request.encode(errors="surrogatepass")) % SAMPLE)


def operations_of(schema: BaseSchema) -> list[APIOperation[Any, Any, Any, Any]]:
    """All of them: one that cannot be read from the document is an error, not less to do."""
    results = list(schema.get_all_operations())
    found = [result.ok() for result in results if isinstance(result, Ok)]
    assert len(found) == len(results)
    return found


def takes_nothing() -> list[APIOperation[Any, Any, Any, Any]]:
    """Operations of which one request is every request: they are sent what they do not ask for."""
    found = [one for one in operations_of(everything) if one.path not in STREAMS]
    return [one for one in found if not (one.path_parameters or one.query or one.headers or one.body)]


@contextmanager
def told(caller: str) -> Iterator[None]:
    """What fails in the block says who called."""
    try:
        yield
    except BaseException as failure:
        failure.add_note(f"called by: {caller}")
        raise


@pytest.mark.parametrize(
    "callers", [CALLERS], ids=["everybody"]
)  # a test without parameters is not named after its operation
@everything.parametrize()
@bounded
def test_operations(case: Case[Any], target: Target, callers: list[str]):
    check = target.check_stream if case.operation.path in STREAMS else target.check
    for caller in callers:
        if not is_left_out(case, caller):
            with told(caller):
                check(case, caller)


HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40).map(str.strip)


@pytest.mark.parametrize("operation", [pytest.param(one, id=one.label) for one in takes_nothing()])
@settings(bounded, max_examples=EXAMPLES)
@given(
    query=st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3),
    headers=st.dictionaries(
        st.sampled_from(["accept", "content-type", "x-request-id", "last-event-id", "idempotency-key", "if-match"]),
        HEADER_TEXT, max_size=4,
    ),
)  # fmt: skip
def test_what_is_not_asked_for(
    operation: APIOperation[Any, Any, Any, Any],
    target: Target,
    query: dict[str, str],
    headers: dict[str, str],
):
    for caller in CALLERS:
        case = operation.Case(query=query, headers=headers)
        if not is_left_out(case, caller):
            with told(caller):
                target.check(case, caller)


def test_every_route_is_called_or_excluded_with_a_reason():
    called = {RouteKey.of(one.method.upper(), one.path) for one in operations_of(everything)}
    left_out = {RouteKey.of(*name.split()) for name in EXCLUDED}
    assert called | left_out == routes_of(unstarted_app())
    assert called & left_out == set(), "an exclusion that excludes nothing"
