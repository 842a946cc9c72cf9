"""The choice of an instance and of a model, as pure functions."""

from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.base.errors import MalformedRequest, NotFound
from models.base.ids import new_id
from models.domain.inference.calls import Endpoint, parse_call
from models.domain.inference.capabilities import UNKNOWN, Capabilities, common, reported_capabilities
from models.domain.inference.resolution import CatalogModel, ModelCatalog
from models.domain.inference.routing import Outstanding, Route, RoutingTable, choose

ORGANIZATION = new_id()


def route(number: int, queue_depth: int = 0, fresh_until_s: float = 10.0) -> Route:
    return Route(
        instance_id=UUID(int=number), organization_id=ORGANIZATION, generation=1, model_id="m", url="http://127.0.0.1:1",
        authorization="Bearer sv_secret", queue_depth=queue_depth, fresh_until_s=fresh_until_s,
    )  # fmt: skip


@given(
    numbers=st.sets(st.integers(1, 50), min_size=1, max_size=12),
    session=st.text(min_size=1, max_size=20),
    gone=st.integers(0, 11),
    newcomer=st.integers(51, 99),
)
def test_a_session_moves_only_if_it_must(numbers: set[int], session: str, gone: int, newcomer: int) -> None:
    routes = [route(number) for number in sorted(numbers)]
    chosen = choose(routes, Outstanding(), session=session)
    assert chosen is not None
    assert choose(list(reversed(routes)), Outstanding(), session=session) == chosen
    without = [each for each in routes if each is not routes[gone % len(routes)]]
    if chosen in without:
        assert choose(without, Outstanding(), session=session) == chosen
    more = [*routes, route(newcomer)]
    assert choose(more, Outstanding(), session=session) in {chosen, more[-1]}


def test_sessions_spread() -> None:
    routes = [route(number) for number in range(1, 5)]
    counts = Counter(choose(routes, Outstanding(), session=f"s{number}") for number in range(2_000))
    assert len(counts) == 4
    assert min(counts.values()) > 400


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=10))
def test_least_outstanding_then_shortest_queue(loads: list[tuple[int, int]]) -> None:
    outstanding = Outstanding()
    routes = []
    for number, (requests, depth) in enumerate(loads):
        routes.append(route(number, depth))
        for _ in range(requests):
            outstanding.begin(routes[-1].instance_id)
    chosen = choose(routes, outstanding)
    assert chosen is not None
    assert loads[chosen.instance_id.int] == min(loads)


def test_equals_take_turns_and_the_tried_are_left_out() -> None:
    routes, outstanding = [route(number) for number in range(3)], Outstanding()
    seen = []
    for _ in range(6):
        chosen = choose(routes, outstanding)
        assert chosen is not None
        seen.append(chosen.instance_id.int)
        outstanding.begin(chosen.instance_id)
        outstanding.end(chosen.instance_id)
    assert seen == [0, 1, 2, 0, 1, 2]
    tried = {UUID(int=0), UUID(int=1)}
    assert choose(routes, outstanding, tried=tried) == routes[2]
    assert choose(routes, outstanding, tried={each.instance_id for each in routes}) is None
    assert outstanding.total == 0
    outstanding.forget_all_but([])
    assert outstanding._turns == {}


def test_the_table_knows_owner_model_and_freshness() -> None:
    table = RoutingTable([route(1, fresh_until_s=5), route(2, fresh_until_s=9)])
    assert len(table.candidates(ORGANIZATION, "m", now_s=4)) == 2
    assert [each.instance_id.int for each in table.candidates(ORGANIZATION, "m", now_s=5)] == [2]
    assert table.candidates(ORGANIZATION, "other", now_s=0) == []
    assert table.candidates(new_id(), "m", now_s=0) == []
    assert table.models(ORGANIZATION, now_s=0) == {"m": UNKNOWN}
    assert table.models(ORGANIZATION, now_s=9) == {}


def test_a_route_does_not_show_its_key() -> None:
    assert "sv_secret" not in repr(route(1))


def test_names_of_a_model() -> None:
    one = CatalogModel(new_id(), "echo", "example/echo-1b")
    shadowed = CatalogModel(new_id(), "example/echo-1b", "example/other")
    catalog = ModelCatalog([one, shadowed])
    assert catalog.resolve(str(one.id)) is one
    assert catalog.resolve(str(one.id).upper()) is one
    assert catalog.resolve("echo") is one
    assert catalog.resolve("example/echo-1b") is one  # the exact Hugging Face id, whatever else is called so
    for unknown in ("", "example/none", "acme/offering", str(new_id()), "ECHO"):
        with pytest.raises(NotFound, match="no active model"):
            catalog.resolve(unknown)


def test_requests_that_mean_the_same_have_the_same_digest() -> None:
    one = parse_call(Endpoint.CHAT_COMPLETIONS, b'{"model": "m", "a": 1, "b": {"c": 2, "d": 3}}')
    same = parse_call(Endpoint.CHAT_COMPLETIONS, b'{"b":{"d":3,"c":2},"a":1,"model":"m"}')
    other = parse_call(Endpoint.CHAT_COMPLETIONS, b'{"model": "m", "a": 2, "b": {"c": 2, "d": 3}}')
    assert one.digest() == same.digest() != other.digest()


def test_a_default_model_stands_in() -> None:
    assert parse_call(Endpoint.COMPLETIONS, b"{}", "default").model == "default"
    assert parse_call(Endpoint.COMPLETIONS, b'{"model": "x"}', "default").model == "x"
    with pytest.raises(MalformedRequest):
        parse_call(Endpoint.COMPLETIONS, b"{}")


def test_embeddings_do_not_stream() -> None:
    call = parse_call(Endpoint.EMBEDDINGS, b'{"model": "m", "stream": true}')
    assert not call.is_stream
    assert b"stream_options" not in call.upstream_body("m")


@pytest.mark.parametrize("report", [None, 5, "x", [], {}, {"tools": 1, "vision": "yes", "max_model_len": True}])
def test_what_is_no_report_tells_nothing(report: object) -> None:
    assert reported_capabilities(report) == UNKNOWN
    assert reported_capabilities(report).as_openai() == {}


def test_a_model_cannot_what_no_instance_can_and_one_says_it_cannot() -> None:
    old = UNKNOWN
    without = reported_capabilities({"tools": False, "vision": False, "max_model_len": 2048, "other": 1})
    able = reported_capabilities({"tools": True, "vision": False, "max_model_len": 1024})
    assert common([old, without]) == without
    assert common([without, able, old]) == Capabilities(frozenset({"tools"}), frozenset({"vision"}), 1024)
    assert common([without, able]).as_openai() == {"tools": True, "vision": False}
    assert common([old]) == common([]) == UNKNOWN
