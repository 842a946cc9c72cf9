"""API keys: shown once, revocable, never more powerful than who makes them (contract/fleet.md 2.7, 18.11, 18.12)."""

import asyncio
import re
from typing import Any
from uuid import uuid4

import pytest

from models.domain.identity.api_keys import CHAIN_LIMIT
from models.domain.identity.roles import Role
from models.domain.keys import fingerprint
from tests.api.conftest import PASSWORD, People, Person, RunningApi


async def make(api: RunningApi, headers: dict[str, str], name: str = "laptop", **more: str) -> dict[str, Any]:
    response = await api.client.post("/api_keys", json={"name": name}, headers={**headers, **more})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def session_of(api: RunningApi, person: Person) -> dict[str, str]:
    """The headers of the person, signed in with a password: keys are managed by people, and by keys only what they made."""
    answer = await api.client.post("/auth/login", json={"email": person.email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    cookie = answer.headers["set-cookie"].partition(";")[0]
    api.client.cookies.clear()
    return {"cookie": cookie}


async def test_a_key_is_shown_once_stored_as_a_hash_and_good_at_once(api: RunningApi, people: People):
    person = people.person()
    body = await make(api, person.bearer, "  laptop ")
    key, row = body["api_key"], body["key"]
    assert isinstance(key, str)
    assert isinstance(row, dict)
    assert re.fullmatch(r"sk-qd-[0-9a-f]{64}", key)
    assert (row["name"], row["key_prefix"]) == ("laptop", key[:12])
    assert {"id", "name", "key_prefix", "created_at", "last_used_at", "revoked_at"} <= set(row)
    ((stored, everything),) = people.execute(
        "SELECT key_hash, row_to_json(k)::text FROM api_keys k WHERE id = %s", row["id"]
    )
    assert stored == fingerprint(key)
    assert key not in str(everything)
    assert (await api.client.get("/auth/me", headers={"x-api-key": key})).status_code == 200
    listed = await api.client.get("/api_keys", headers=person.bearer)
    assert key not in listed.text


async def test_the_list_is_newest_first_with_revoked_ones(api: RunningApi, people: People):
    person = people.person()
    signed_in = await session_of(api, person)
    made = [(await make(api, signed_in, name))["key"] for name in ("b", "c")]
    assert (await api.client.delete(f"/api_keys/{made[0]['id']}", headers=signed_in)).status_code == 200
    rows = (await api.client.get("/api_keys/", headers=signed_in)).json()
    assert [row["name"] for row in rows] == ["c", "b", "first"]
    assert [row["revoked_at"] is not None for row in rows] == [False, True, False]


async def test_a_revoked_key_is_refused_and_revoking_it_again_is_404(api: RunningApi, people: People):
    person = people.person()
    body = await make(api, person.bearer)
    path = f"/api_keys/{body['key']['id']}"
    revoked = await api.client.delete(path, headers=person.bearer)
    assert (revoked.status_code, revoked.content) == (200, b"")
    used = await api.client.get("/auth/me", headers={"x-api-key": body["api_key"]})
    assert (used.status_code, used.json()["code"]) == (401, "INVALID_TOKEN")
    again = await api.client.delete(path, headers=person.bearer)
    assert (again.status_code, again.json()["code"]) == (404, "API_KEY_NOT_FOUND")


async def test_of_many_revocations_at_once_one_succeeds(api: RunningApi, people: People):
    person = people.person()
    path = f"/api_keys/{(await make(api, person.bearer))['key']['id']}"
    answers = await asyncio.gather(*(api.client.delete(path, headers=person.bearer) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [404] * 7


async def test_renaming(api: RunningApi, people: People):
    person = people.person()
    signed_in = await session_of(api, person)
    path = f"/api_keys/{person.api_key_id}"
    renamed = await api.client.put(path, json={"name": " new "}, headers=signed_in)
    assert (renamed.status_code, renamed.content) == (200, b"")
    assert [row["name"] for row in (await api.client.get("/api_keys", headers=signed_in)).json()] == ["new"]


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, None, 7, "a\0b"])
async def test_a_bad_name_is_422(api: RunningApi, people: People, name: object):
    person = people.person()
    for call in (
        api.client.post("/api_keys", json={"name": name}, headers=person.bearer),
        api.client.put(f"/api_keys/{person.api_key_id}", json={"name": name}, headers=person.bearer),
    ):
        response = await call
        assert (response.status_code, response.json()["code"]) == (422, "INVALID_REQUEST")


@pytest.mark.parametrize("whose", ["a colleague's", "another organization's", "nobody's"])
async def test_somebody_elses_key_does_not_exist(api: RunningApi, people: People, whose: str):
    person = people.person()
    signed_in = await session_of(api, person)
    other = people.person(organization_id=person.organization_id if whose == "a colleague's" else None)
    key_id = uuid4() if whose == "nobody's" else other.api_key_id
    for call in (
        api.client.put(f"/api_keys/{key_id}", json={"name": "taken"}, headers=signed_in),
        api.client.delete(f"/api_keys/{key_id}", headers=signed_in),
    ):
        response = await call
        assert (response.status_code, response.json()["code"]) == (404, "API_KEY_NOT_FOUND")
    assert (await api.client.get("/auth/me", headers=other.bearer)).status_code == 200
    assert len((await api.client.get("/api_keys", headers=signed_in)).json()) == 1


@pytest.mark.parametrize("path", ["/api_keys/not-a-uuid", "/api_keys/" + "9" * 400])
async def test_an_id_that_is_none_is_422(api: RunningApi, people: People, path: str):
    response = await api.client.delete(path, headers=people.person().bearer)
    assert response.status_code == 422


async def test_searching_pages_sorts_and_clamps(api: RunningApi, people: People):
    person = people.person()
    signed_in = await session_of(api, person)
    people.execute("DELETE FROM api_keys WHERE name <> 'first'")
    for name in ("b", "a", "c"):
        await make(api, signed_in, name)

    async def search(query: str) -> dict[str, object]:
        response = await api.client.get(f"/api_keys/search?{query}", headers=signed_in)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    def names(body: dict[str, object]) -> list[str]:
        rows = body["rows"]
        assert isinstance(rows, list)
        return [row["name"] for row in rows]

    everything = await search("")
    assert names(everything) == ["c", "a", "b", "first"]
    assert (everything["offset"], everything["limit"], everything["total_count"], everything["filtered_count"]) == (
        0, 200, 4, 4,
    )  # fmt: skip
    assert names(await search("sort_by=name&sort_dir=asc")) == ["a", "b", "c", "first"]
    assert names(await search("sort_by=name&sort_dir=asc&offset=1&limit=2")) == ["b", "c"]
    assert names(await search("sort_by=password_hash")) == names(everything)
    assert (await search("limit=0"))["limit"] == 1
    assert (await search("limit=-5"))["limit"] == 1
    assert (await search("limit=9999"))["limit"] == 500
    assert names(await search("offset=9999999")) == []


@pytest.mark.parametrize("query", ["offset=-1", "offset=99999999999999999999", "limit=x", "owner=me", "limit=%00"])
async def test_what_cannot_be_searched_is_422(api: RunningApi, people: People, query: str):
    response = await api.client.get(f"/api_keys/search?{query}", headers=people.person().bearer)
    assert response.status_code == 422


async def test_a_viewer_has_no_keys(api: RunningApi, people: People):
    viewer = people.person(Role.VIEWER)
    assert (await api.client.post("/api_keys", json={"name": "x"}, headers=viewer.bearer)).status_code == 403


async def test_a_key_cannot_make_one_that_may_do_or_last_more(api: RunningApi, people: People):
    narrow = people.person(scopes=["api_keys:own"])
    people.execute("UPDATE api_keys SET expires_at = now() + interval '1 day' WHERE id = %s", narrow.api_key_id)
    await api.state.identities.catch_up()
    body = await make(api, narrow.bearer)
    ((scopes, expires_at, former),) = people.execute(
        "SELECT k.scopes, k.expires_at, o.expires_at FROM api_keys k, api_keys o WHERE k.id = %s AND o.id = %s",
        body["key"]["id"],
        narrow.api_key_id,
    )
    assert (scopes, expires_at) == (["api_keys:own"], former)
    child = {"x-api-key": str(body["api_key"])}
    assert (await api.client.get("/operations", headers=child)).status_code == 403


async def test_a_repeated_request_makes_one_key_and_its_answer_holds_no_secret(api: RunningApi, people: People):
    person = people.person()
    signed_in = await session_of(api, person)
    first = await make(api, signed_in, **{"idempotency-key": "once"})
    response = await api.client.post(
        "/api_keys", json={"name": "laptop"}, headers={**signed_in, "idempotency-key": "once"}
    )
    again = response.json()
    assert response.headers["idempotent-replayed"] == "true"
    assert (again["key"], again["api_key"]) == (first["key"], None)
    assert "not shown again" in again["message"]
    ((count, kept),) = people.execute("SELECT count(*), string_agg(i::text, '') FROM idempotency_keys i")
    assert count == 1
    assert str(first["api_key"]) not in str(kept)
    assert len((await api.client.get("/api_keys", headers=signed_in)).json()) == 2


async def test_a_key_ends_with_the_one_that_made_it_and_so_do_all_below(api: RunningApi, people: People):
    person = people.person()
    signed_in = await session_of(api, person)
    keys, headers = [], signed_in
    for name in ("grandmother", "mother", "child"):
        keys.append(await make(api, headers, name))
        headers = {"x-api-key": str(keys[-1]["api_key"])}
    beside = await make(api, signed_in, "beside")
    parents = people.execute("SELECT name, parent_id FROM api_keys WHERE name <> 'first' ORDER BY created_at, id")
    ids = [key["key"]["id"] for key in keys]
    assert [(name, str(parent)) for name, parent in parents] == [
        ("grandmother", "None"), ("mother", ids[0]), ("child", ids[1]), ("beside", "None"),
    ]  # fmt: skip
    assert (await api.client.delete(f"/api_keys/{ids[0]}", headers=signed_in)).status_code == 200
    for key, status in ((keys[0], 401), (keys[1], 401), (keys[2], 401), (beside, 200)):
        assert (await api.client.get("/auth/me", headers={"x-api-key": str(key["api_key"])})).status_code == status


async def test_a_key_that_is_cut_short_cuts_short_what_it_made(api: RunningApi, people: People):
    person = people.person()
    child = await make(api, person.bearer)
    people.execute("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = %s", person.api_key_id)
    ((is_over,),) = people.execute("SELECT expires_at < now() FROM api_keys WHERE id = %s", child["key"]["id"])
    assert is_over


async def test_a_key_reaches_what_it_made_and_nothing_above_or_beside(api: RunningApi, people: People):
    person = people.person(scopes=["api_keys:own"])
    beside = (await make(api, await session_of(api, person), "beside"))["key"]
    child = await make(api, person.bearer, "child")
    grandchild = await make(api, {"x-api-key": str(child["api_key"])}, "grandchild")
    listed = (await api.client.get("/api_keys", headers=person.bearer)).json()
    searched = (await api.client.get("/api_keys/search", headers=person.bearer)).json()
    assert {row["name"] for row in listed} == {row["name"] for row in searched["rows"]} == {"child", "grandchild"}
    for path in (f"/api_keys/{person.api_key_id}", f"/api_keys/{beside['id']}"):
        assert (await api.client.put(path, json={"name": "taken"}, headers=person.bearer)).status_code == 404
        assert (await api.client.delete(path, headers=person.bearer)).status_code == 404
    below = f"/api_keys/{grandchild['key']['id']}"
    assert (await api.client.put(below, json={"name": "renamed"}, headers=person.bearer)).status_code == 200
    assert (await api.client.delete(below, headers=person.bearer)).status_code == 200


def unannounced(people: People, statement: str, *parameters: object) -> None:
    """A change of which no process hears."""
    for table in (tables := ("api_keys", "user_sessions", "memberships")):
        people.execute(f"ALTER TABLE {table} DISABLE TRIGGER {table}_identity")
    people.execute(statement, *parameters)
    for table in tables:
        people.execute(f"ALTER TABLE {table} ENABLE TRIGGER {table}_identity")


@pytest.mark.parametrize("end", ["revoked_at = now()", "expires_at = now() - interval '1 second'"])
async def test_a_key_that_ended_a_moment_ago_makes_none(api: RunningApi, people: People, end: str):
    person = people.person()
    assert (await api.client.get("/auth/me", headers=person.bearer)).status_code == 200
    unannounced(people, f"UPDATE api_keys SET {end} WHERE id = %s", person.api_key_id)  # noqa: S608
    refused = await api.client.post("/api_keys", json={"name": "late"}, headers=person.bearer)
    assert (refused.status_code, refused.json()["code"]) == (401, "INVALID_TOKEN")
    assert people.execute("SELECT count(*) FROM api_keys WHERE name = 'late'") == [(0,)]


async def test_a_session_that_ended_a_moment_ago_makes_none(api: RunningApi, people: People):
    person = people.person()
    signed_in = await session_of(api, person)
    unannounced(people, "UPDATE user_sessions SET revoked_at = now()")
    refused = await api.client.post("/api_keys", json={"name": "late"}, headers=signed_in)
    assert (refused.status_code, refused.json()["code"]) == (401, "INVALID_TOKEN")


async def test_who_left_a_moment_ago_makes_none(api: RunningApi, people: People):
    person = people.person()
    unannounced(people, "DELETE FROM memberships WHERE user_id = %s", person.user_id,
    )  # fmt: skip
    refused = await api.client.post("/api_keys", json={"name": "late"}, headers=person.bearer)
    assert (refused.status_code, refused.json()["code"]) == (401, "INVALID_TOKEN")


async def test_a_key_made_by_one_that_was_narrowed_a_moment_ago_is_as_narrow(api: RunningApi, people: People):
    person = people.person()
    unannounced(people, "UPDATE api_keys SET scopes = '[\"api_keys:own\"]', expires_at = now() + interval '1 day' WHERE id = %s",
        person.api_key_id,
    )  # fmt: skip
    child = (await make(api, person.bearer))["key"]
    rows = people.execute(
        "SELECT scopes, expires_at FROM api_keys WHERE id IN (%s, %s)", person.api_key_id, child["id"]
    )
    assert rows[0] == rows[1]
    assert rows[0][0] == ["api_keys:own"]


async def test_a_chain_of_keys_has_an_end(api: RunningApi, people: People):
    headers = people.person().bearer
    for _ in range(CHAIN_LIMIT - 1):
        headers = {"x-api-key": str((await make(api, headers))["api_key"])}
    refused = await api.client.post("/api_keys", json={"name": "ninth"}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "API_KEY_CHAIN_TOO_LONG")


async def test_scopes_that_a_key_loses_are_lost_to_what_it_made_at_once(api: RunningApi, people: People):
    person = people.person()
    child = {"x-api-key": str((await make(api, person.bearer))["api_key"])}
    assert (await api.client.get("/operations", headers=child)).status_code == 200
    people.execute("UPDATE api_keys SET scopes = '[\"api_keys:own\"]' WHERE id = %s", person.api_key_id)
    await api.state.identities.catch_up()
    assert (await api.client.get("/operations", headers=child)).status_code == 403


async def test_who_comes_back_signs_in_anew(api: RunningApi, people: People):
    person = people.person()
    signed_in = await session_of(api, person)
    child = {"x-api-key": str((await make(api, person.bearer))["api_key"])}
    people.execute(
        "DELETE FROM memberships WHERE user_id = %s AND organization_id = %s", person.user_id, person.organization_id
    )
    people.execute("INSERT INTO memberships VALUES (%s, %s, 'owner')", person.organization_id, person.user_id)
    await api.state.identities.catch_up()
    statuses = [
        (await api.client.get("/auth/me", headers=each)).status_code for each in (signed_in, person.bearer, child)
    ]
    assert statuses == [401, 401, 401]
    assert (await api.client.get("/auth/me", headers=await session_of(api, person))).status_code == 200


async def test_a_changed_password_ends_the_sessions_that_began_with_the_old_one(api: RunningApi, people: People):
    person = people.person()
    first, second = await session_of(api, person), await session_of(api, person)
    ((kept,),) = people.execute("SELECT id FROM user_sessions WHERE user_id = %s ORDER BY id LIMIT 1", person.user_id)
    people.execute(
        "WITH here AS MATERIALIZED (SELECT set_config('app.session_id', %s, true) AS set) "
        "UPDATE users SET password_hash = 'another' FROM here WHERE here.set IS NOT NULL AND id = %s",
        str(kept), person.user_id,
    )  # fmt: skip
    await api.state.identities.catch_up()
    statuses = [(await api.client.get("/auth/me", headers=each)).status_code for each in (first, second)]
    assert statuses == [200, 401]
    people.execute("UPDATE users SET password_hash = 'a third' WHERE id = %s", person.user_id)
    await api.state.identities.catch_up()
    assert (await api.client.get("/auth/me", headers=first)).status_code == 401
