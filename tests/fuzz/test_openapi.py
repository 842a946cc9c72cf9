"""Every operation of the OpenAPI document, with requests that fit it and requests that do not, as three kinds of callers.

Nothing that is sent may bring a 5xx, a status or media type that the document does not have for the operation, or a body
that is not of its schema; what the document forbids must not be accepted. The requests are the same in every run.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, BaseSchema, Case
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok

from tests.contract.ledger import RouteKey, routes_of
from tests.factories.unstarted import unstarted_app
from tests.fuzz.target import Target

EXAMPLES = 25
"""Random requests per operation and caller, besides the boundary values of each parameter."""

CALLERS = ["nobody", "member", "admin"]

STREAMS = ["/events/stream", "/operations/{operation_id}/events"]
"""They have no end: `test_streams` reads the head and the first event, then closes the connection."""

EXCLUDED = {
    "GET /swagger-ui": "the documentation page, for people; not in the document",
    "GET /swagger-ui/{}": "its parts; not in the document",
    "GET /api/version": "the same as GET /version, under an older path; not in the document",
}
"""Routes that are not called, each with the reason."""


CONFIG = {"generation": {"max-examples": EXAMPLES, "deterministic": True, "with-security-parameters": False}}
everything = schemathesis.openapi.from_dict(unstarted_app().openapi(), config=SchemathesisConfig.from_dict(CONFIG))
everything.config.update(base_url="http://127.0.0.1:1")  # what is sent goes to the target; only the links need one
answered, streams = everything.exclude(path=STREAMS), everything.include(path=STREAMS)

bounded = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=timedelta(seconds=20),
    suppress_health_check=list(HealthCheck),
)


def operations_of(schema: BaseSchema) -> list[APIOperation[Any, Any, Any, Any]]:
    """All of them: one that cannot be read from the document is an error, not less to do."""
    results = list(schema.get_all_operations())
    found = [result.ok() for result in results if isinstance(result, Ok)]
    assert len(found) == len(results)
    return found


def takes_nothing() -> list[APIOperation[Any, Any, Any, Any]]:
    """Operations of which one request is every request: they are sent what they do not ask for."""
    return [one for one in operations_of(answered) if not (one.path_parameters or one.query or one.headers or one.body)]


@pytest.mark.parametrize("caller", CALLERS)
@answered.parametrize()
@bounded
def test_operations(case: Case[Any], target: Target, caller: str):
    target.check(case, caller)


@pytest.mark.parametrize("caller", CALLERS)
@streams.parametrize()
@bounded
def test_streams(case: Case[Any], target: Target, caller: str):
    target.check_stream(case, caller)


HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40).map(str.strip)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("operation", [pytest.param(one, id=one.label) for one in takes_nothing()])
@bounded
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
    caller: str,
    query: dict[str, str],
    headers: dict[str, str],
):
    target.check(operation.Case(query=query, headers=headers), caller)


def test_every_route_is_called_or_excluded_with_a_reason():
    called = {RouteKey.of(one.method.upper(), one.path) for one in operations_of(everything)}
    left_out = {RouteKey.of(*name.split()) for name in EXCLUDED}
    assert called | left_out == routes_of(unstarted_app())
    assert called & left_out == set(), "an exclusion that excludes nothing"
