"""Every operation of the OpenAPI document, with requests that fit it and requests that do not, as three kinds of callers.

Nothing that is sent may bring a 5xx, a status or media type that the document does not have for the operation, or a body
that is not of its schema; what the document forbids must not be accepted. The requests are the same in every run.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from pydantic import SecretStr
from schemathesis import Case
from schemathesis.config import SchemathesisConfig

from api.app import create_app
from api.composition import build_state
from models.settings import Settings
from tests.api.conftest import INSTALLATION_KEY
from tests.fuzz.target import Target

EXAMPLES = 25
"""Random requests per operation and caller, besides the boundary values of each parameter."""

STREAMS = ("/events/stream", "/operations/{operation_id}/events")
"""No end: their head and first event are read, then the connection is closed (`test_streams_as_*`)."""

EXCLUDED: dict[str, str] = {}
"""Operations that are not called, each with the reason."""


def document() -> dict[str, Any]:
    settings = Settings(
        home=Path("unused"),
        installation_key=SecretStr(INSTALLATION_KEY),
        database_url_api=SecretStr("postgresql://quarterdeck_api@127.0.0.1:1/unused"),
    )
    return create_app(build_state(settings)).openapi()


CONFIG = {
    "generation": {"max-examples": EXAMPLES, "deterministic": True, "with-security-parameters": False},
}

everything = schemathesis.openapi.from_dict(document(), config=SchemathesisConfig.from_dict(CONFIG))
everything.config.update(base_url="http://127.0.0.1:1")
answered = everything.exclude(path=list(STREAMS))
streams = everything.include(path=list(STREAMS))

bounded = hypothesis.settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=timedelta(seconds=10),
    suppress_health_check=list(HealthCheck),
)


@answered.parametrize()
@bounded
def test_as_nobody(case: Case, target: Target):
    target.check(case, None)


@answered.parametrize()
@bounded
def test_as_member(case: Case, target: Target):
    target.check(case, target.member)


@answered.parametrize()
@bounded
def test_as_admin(case: Case, target: Target):
    target.check(case, target.admin)


@streams.parametrize()
@bounded
def test_streams_as_nobody(case: Case, target: Target):
    target.check_stream(case, None)


@streams.parametrize()
@bounded
def test_streams_as_member(case: Case, target: Target):
    target.check_stream(case, target.member)


@streams.parametrize()
@bounded
def test_streams_as_admin(case: Case, target: Target):
    target.check_stream(case, target.admin)


def test_enough_was_sent(target: Target):
    print(target.sent, target.answered, sum(target.sent.values()))
    assert 0
