"""What the database holds of API keys, sessions and memberships, whatever statement comes and whatever meets it on the way."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors
from psycopg.types.json import Jsonb

from models.base.ids import new_id
from models.domain.identity.api_keys import CHAIN_LIMIT
from models.domain.identity.roles import PERMISSIONS, Role
from models.migrations import upgrade
from tests.api.conftest import People, Person
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase, TestPostgres

WAITS_FOR_A_LOCK = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)

DAY = "now() + interval '1 day'"
A, B, C = sorted(PERMISSIONS[Role.OWNER])[:3]


@dataclass(frozen=True)
class Statement:
    text: str
    values: Sequence[object] = ()

    def run(self, on: psycopg.Connection[Any]) -> None:
        on.execute(self.text.encode(), self.values)


class Tree:
    """A person, and the keys that hang on the first one."""

    def __init__(self, people: People) -> None:
        self._people = people
        self.person: Person = people.person()
        self.root = self.person.api_key_id

    def child(self, parent_id: UUID | None = None, *, expires: str = "NULL", scopes: tuple[str, ...] = ()) -> UUID:
        key_id = new_id()
        self.do(self.child_statement(key_id, parent_id, expires=expires, scopes=scopes))
        return key_id

    def do(self, statement: Statement) -> None:
        self._people.execute(statement.text, *statement.values)

    def child_statement(
        self, key_id: UUID, parent_id: UUID | None = None, *, expires: str = "NULL", scopes: tuple[str, ...] = ()
    ) -> Statement:
        person, parent = self.person, parent_id or self.root
        return Statement(
            "INSERT INTO api_keys (id, organization_id, user_id, parent_id, name, key_prefix, key_hash, scopes, expires_at)"  # noqa: S608
            f" VALUES (%s, %s, %s, %s, 'child', 'sk-qd-child', %s, %s, {expires})",
            (key_id, person.organization_id, person.user_id, parent, str(key_id), Jsonb(scopes)),
        )

    def session_statement(self, session_id: UUID) -> Statement:
        return Statement(
            "INSERT INTO user_sessions (id, organization_id, user_id, token_hash, expires_at)"
            " VALUES (%s, %s, %s, %s, now() + interval '1 day')",
            (session_id, self.person.organization_id, self.person.user_id, str(session_id)),
        )

    def session(self) -> UUID:
        session_id = new_id()
        self.do(self.session_statement(session_id))
        return session_id

    def revoke(self, key_id: UUID) -> None:
        self.do(revocation(key_id))

    def live(self) -> set[UUID]:
        """The keys and sessions of this person that are not revoked."""
        rows = self._people.execute(
            "SELECT id FROM (SELECT id, user_id, revoked_at FROM api_keys UNION ALL SELECT id, user_id, revoked_at FROM user_sessions)"
            " AS held WHERE user_id = %s AND revoked_at IS NULL", self.person.user_id,
        )  # fmt: skip
        return {row[0] for row in rows if isinstance(row[0], UUID)}

    def scopes(self, key_id: UUID) -> object:
        return self._people.execute("SELECT scopes FROM api_keys WHERE id = %s", key_id)[0][0]


def revocation(key_id: UUID) -> Statement:
    return Statement("UPDATE api_keys SET revoked_at = now() WHERE id = %s", [key_id])


@pytest.fixture
def people(module_database: TestDatabase) -> Iterator[People]:
    made = People(module_database)
    yield made
    made.close()


@pytest.fixture
def tree(people: People) -> Tree:
    return Tree(people)


class Meeting:
    """Two transactions: the first does its statement and stays open, the second waits for it."""

    def __init__(self, database: TestDatabase) -> None:
        self.first = psycopg.connect(database.owner)
        self.second = psycopg.connect(database.owner)
        self._watching = psycopg.connect(database.admin, autocommit=True)
        self._thread = ThreadPoolExecutor(1)

    def begin(self, statement: Statement) -> None:
        statement.run(self.first)

    def meet(self, statement: Statement) -> Future[None]:
        def work() -> None:
            statement.run(self.second)
            self.second.commit()

        future = self._thread.submit(work)
        waits = threading.Event()
        while not waits.is_set():
            assert not future.done(), f"it did not wait, and came to {future.exception() or 'its end'}"
            if self._watching.execute(WAITS_FOR_A_LOCK).fetchone() != (0,):
                waits.set()
        return future

    def until_the_second_waits_for_the_first(self) -> None:
        first, second = (each.info.backend_pid for each in (self.first, self.second))
        deadline = time.monotonic() + GIVE_UP_S
        while self._watching.execute("SELECT %s = ANY (pg_blocking_pids(%s))", [first, second]).fetchone() != (True,):
            assert time.monotonic() < deadline, "it waits for nobody"

    def close(self) -> None:
        self.first.close()
        self._thread.shutdown()
        self.second.close()
        self._watching.close()


@pytest.fixture
def meeting(module_database: TestDatabase) -> Iterator[Meeting]:
    made = Meeting(module_database)
    yield made
    made.close()


def rule_broken_by(error: BaseException | None) -> str | None:
    assert isinstance(error, psycopg.errors.IntegrityError), error
    return error.diag.constraint_name


@pytest.mark.parametrize("generations_between", [0, 2])
@pytest.mark.parametrize(
    "end",
    ["revoked_at = now()", "expires_at = now()", f"scopes = '[\"{A}\"]'", "revoked_at = now(), expires_at = now()"],
)
def test_a_key_that_is_being_made_while_one_above_it_ends_does_not_outlive_it(
    people: People, tree: Tree, meeting: Meeting, end: str, generations_between: int
) -> None:
    parent = tree.root
    for _ in range(generations_between):
        parent = tree.child(parent)
    made = new_id()
    meeting.begin(tree.child_statement(made, parent))
    ending = meeting.meet(Statement(f"UPDATE api_keys SET {end} WHERE id = %s", [tree.root]))  # noqa: S608
    meeting.first.commit()
    ending.result()
    same = people.execute(
        "SELECT (k.revoked_at, k.expires_at, k.scopes) IS NOT DISTINCT FROM (r.revoked_at, r.expires_at, r.scopes)"
        " FROM api_keys k, api_keys r WHERE k.id = %s AND r.id = %s", made, tree.root,
    )  # fmt: skip
    assert same == [(True,)]


@pytest.mark.parametrize("generations_between", [0, 2])
def test_who_makes_a_key_waits_for_the_revocation_of_its_parent_and_is_refused(
    tree: Tree, meeting: Meeting, generations_between: int
) -> None:
    parent = tree.root
    for _ in range(generations_between):
        parent = tree.child(parent)
    meeting.begin(revocation(tree.root))
    making = meeting.meet(tree.child_statement(new_id(), parent))
    meeting.first.commit()
    assert rule_broken_by(making.exception()) == "api_keys_of_a_good_parent"
    assert tree.live() == set()


def test_a_revocation_that_is_taken_back_stops_nobody(tree: Tree, meeting: Meeting) -> None:
    made = new_id()
    meeting.begin(revocation(tree.root))
    making = meeting.meet(tree.child_statement(made))
    meeting.first.rollback()
    making.result()
    assert tree.live() == {tree.root, made}


def test_revocations_that_meet_go_down_the_tree_one_after_the_other(
    people: People, tree: Tree, meeting: Meeting
) -> None:
    """However the planner joins: here it would take the rows by their ids, the lowest key of the tree first."""
    lowest, parent = sorted((new_id(), new_id()))
    tree.do(tree.child_statement(parent))
    tree.do(tree.child_statement(lowest, parent))
    meeting.second.execute("SET enable_nestloop = off; SET enable_hashjoin = off")
    meeting.begin(Statement("SELECT FROM api_keys WHERE id = %s FOR NO KEY UPDATE", [parent]))
    ending = meeting.meet(revocation(tree.root))
    meeting.begin(revocation(parent))
    meeting.first.commit()
    ending.result()
    assert tree.live() == set()


def test_keys_that_were_made_while_an_end_waited_are_taken_from_the_top_as_well(
    tree: Tree, meeting: Meeting, module_database: TestDatabase
) -> None:
    """Two below a key that the end had not come to; who ends the upper one finds the lower one free."""
    held, free = tree.child(), tree.child()
    lowest, parent = sorted((new_id(), new_id()))
    meeting.second.execute("SET enable_nestloop = off; SET enable_hashjoin = off")
    with psycopg.connect(module_database.owner) as holder:
        holder.execute("SELECT FROM api_keys WHERE id = %s FOR NO KEY UPDATE", [held])
        ending = meeting.meet(revocation(tree.root))
        tree.do(tree.child_statement(parent, free))
        tree.do(tree.child_statement(lowest, parent))
        meeting.begin(Statement("SELECT FROM api_keys WHERE id = %s FOR NO KEY UPDATE", [parent]))
        holder.commit()
    meeting.until_the_second_waits_for_the_first()
    meeting.begin(revocation(parent))
    meeting.first.commit()
    ending.result()
    assert tree.live() == set()


def test_a_note_of_last_use_waits_for_nobody(
    people: People, tree: Tree, meeting: Meeting, module_database: TestDatabase
) -> None:
    child, ended, used = tree.child(), tree.session(), tree.session()
    people.execute("UPDATE user_sessions SET last_used_at = now() - interval '1 hour'")
    meeting.begin(revocation(child))
    meeting.begin(Statement("UPDATE user_sessions SET revoked_at = now() WHERE id = %s", [ended]))
    with psycopg.connect(module_database.api, autocommit=True) as api:
        api.execute("SET lock_timeout = '1ms'")
        api.execute(
            "SELECT touch_identities(%s, ARRAY[now(), now()], %s, ARRAY[now(), now()])",
            [[ended, used], [child, tree.root]],
        )
    meeting.first.commit()
    noted = people.execute(
        "SELECT id FROM api_keys WHERE user_id = %s AND last_used_at IS NOT NULL UNION ALL"
        " SELECT id FROM user_sessions WHERE user_id = %s AND last_used_at > now() - interval '1 minute'",
        tree.person.user_id, tree.person.user_id,
    )  # fmt: skip
    assert set(noted) == {(tree.root,), (used,)}


def ending_of_membership(tree: Tree) -> Statement:
    return Statement("DELETE FROM memberships WHERE user_id = %s", [tree.person.user_id])


@pytest.mark.parametrize("what", ["a key of the person", "a key of a key", "a session"])
def test_what_is_being_made_while_the_membership_ends_ends_with_it(tree: Tree, meeting: Meeting, what: str) -> None:
    meeting.begin(being_made(tree, what))
    ending = meeting.meet(ending_of_membership(tree))
    meeting.first.commit()
    ending.result()
    assert tree.live() == set()


@pytest.mark.parametrize("what", ["a key of the person", "a key of a key", "a session"])
def test_who_makes_something_waits_for_the_end_of_the_membership_and_is_refused(
    tree: Tree, meeting: Meeting, what: str
) -> None:
    meeting.begin(ending_of_membership(tree))
    making = meeting.meet(being_made(tree, what))
    meeting.first.commit()
    assert rule_broken_by(making.exception()) in {"api_keys_of_a_member", "user_sessions_of_a_member"}
    assert tree.live() == set()


def being_made(tree: Tree, what: str) -> Statement:
    if what == "a session":
        return tree.session_statement(new_id())
    child = tree.child_statement(new_id())
    if what == "a key of a key":
        return child
    return replace(child, values=[None if value == tree.root else value for value in child.values])


ROUNDS, AT_ONCE, STEPS = 12, 6, 12


def test_whatever_meets_whatever_nobody_waits_in_a_circle_and_nothing_outlives_its_parent(
    people: People, module_database: TestDatabase
) -> None:
    made: list[UUID] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number in range(ROUNDS):
            storm = Storm(module_database, Tree(people), made)
            for future in [pool.submit(storm.work, number * AT_ONCE + place) for place in range(AT_ONCE)]:
                future.result()  # a circle, which the database breaks, would be an error here
    survivors = people.execute(
        "SELECT k.id FROM api_keys k JOIN api_keys p ON p.id = k.parent_id WHERE k.revoked_at IS NULL AND p.revoked_at IS NOT NULL"
        " UNION ALL SELECT k.id FROM api_keys k LEFT JOIN memberships m USING (organization_id, user_id)"
        " WHERE m.user_id IS NULL AND k.revoked_at IS NULL"
    )
    assert survivors == []
    assert len(made) > ROUNDS * AT_ONCE


class Storm:
    """Several make keys, note their use and end them, all on one tree."""

    def __init__(self, database: TestDatabase, tree: Tree, made: list[UUID]) -> None:
        self._url, self._tree, self._made = database.owner, tree, made
        self._keys = [tree.root, *(tree.child() for _ in range(4))]
        self._together = threading.Barrier(AT_ONCE)

    def work(self, seed: int) -> None:
        chance = random.Random(seed)
        with psycopg.connect(self._url, autocommit=True) as connection:
            self._together.wait()
            for _ in range(STEPS):
                with rules_kept():
                    self._step(connection, chance)

    def _step(self, connection: psycopg.Connection[Any], chance: random.Random) -> None:
        parent, key_id = chance.choice(self._keys), new_id()
        match chance.choices(("make", "touch", "revoke", "end"), (60, 20, 19, 1))[0]:
            case "make":
                self._tree.child_statement(key_id, parent).run(connection)
                self._keys.append(key_id)
                self._made.append(key_id)
            case "touch":
                keys = chance.sample(self._keys, len(self._keys))
                connection.execute(
                    "SELECT touch_identities('{}', '{}', %s, array_fill(clock_timestamp(), ARRAY[%s]))",
                    [keys, len(keys)],
                )
            case "revoke":
                revocation(parent).run(connection)
            case "end":
                ending_of_membership(self._tree).run(connection)


@contextmanager
def rules_kept() -> Iterator[None]:
    """Whose parent or membership is gone, makes no key."""
    try:
        yield
    except psycopg.errors.IntegrityError as error:
        if rule_broken_by(error) not in {"api_keys_of_a_good_parent", "api_keys_of_a_member", "api_keys_chain"}:
            raise


@pytest.mark.parametrize(
    ("rule", "parent", "child"),
    [
        ("api_keys_of_a_good_parent", "revoked_at = now()", {}),
        ("api_keys_of_a_good_parent", "expires_at = now()", {"expires": "now()"}),
        ("api_keys_end_with_their_parent", f"expires_at = {DAY}", {}),
        ("api_keys_end_with_their_parent", f"expires_at = {DAY}", {"expires": "now() + interval '2 days'"}),
        ("api_keys_within_their_parents_scopes", f'scopes = \'["{A}", "{B}"]\'', {}),
        ("api_keys_within_their_parents_scopes", f'scopes = \'["{A}", "{B}"]\'', {"scopes": (A, C)}),
        (None, f'scopes = \'["{A}", "{B}"]\'', {"scopes": (B, A)}),
        (None, f'scopes = \'["{A}", "{B}"]\'', {"scopes": (B,)}),
        (None, "scopes = '[]'", {"scopes": (B,)}),
        (None, f"expires_at = {DAY}", {"expires": "now() + interval '1 hour'"}),
    ],
)
def test_a_key_is_never_more_than_the_one_that_makes_it(
    people: People, tree: Tree, rule: str | None, parent: str, child: dict[str, Any]
) -> None:
    people.execute(f"UPDATE api_keys SET {parent} WHERE id = %s", tree.root)  # noqa: S608
    if rule is None:
        assert tree.child(**child) in tree.live()
        return
    with pytest.raises(errors.CheckViolation) as refused:
        tree.child(**child)
    assert rule_broken_by(refused.value) == rule


@pytest.mark.parametrize("whose", ["another user's", "another organization's"])
def test_a_key_belongs_to_the_owner_of_the_one_that_makes_it(people: People, tree: Tree, whose: str) -> None:
    other = people.person(organization_id=tree.person.organization_id if whose == "another user's" else None)
    with pytest.raises(errors.CheckViolation) as refused:
        tree.child(other.api_key_id)
    assert rule_broken_by(refused.value) == "api_keys_of_their_parents_owner"


def test_a_key_is_not_its_own_parent(tree: Tree) -> None:
    key_id = new_id()
    with pytest.raises(errors.CheckViolation):
        tree.do(tree.child_statement(key_id, key_id))


def test_a_chain_has_an_end(tree: Tree) -> None:
    last = tree.root
    for _ in range(CHAIN_LIMIT - 1):
        last = tree.child(last)
    with pytest.raises(errors.CheckViolation) as refused:
        tree.child(last)
    assert rule_broken_by(refused.value) == "api_keys_chain"


def test_only_members_have_keys_and_sessions(people: People, tree: Tree) -> None:
    tree.do(ending_of_membership(tree))
    with pytest.raises(errors.ForeignKeyViolation) as refused:
        people.key(tree.person.organization_id, tree.person.user_id)
    assert rule_broken_by(refused.value) == "api_keys_of_a_member"
    with pytest.raises(errors.ForeignKeyViolation) as refused:
        tree.session()
    assert rule_broken_by(refused.value) == "user_sessions_of_a_member"


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("api_keys_stay_revoked", "revoked_at = NULL"),
        ("api_keys_stay_whose_they_are", "parent_id = NULL"),
        ("api_keys_stay_whose_they_are", "user_id = (SELECT max(id::text)::uuid FROM users)"),
        ("api_keys_stay_whose_they_are", "organization_id = (SELECT max(id::text)::uuid FROM organizations)"),
    ],
)
def test_a_key_stays_what_it_is(people: People, tree: Tree, rule: str, change: str) -> None:
    child = tree.child()
    tree.revoke(child)
    people.person()
    with pytest.raises(errors.CheckViolation) as refused:
        people.execute(f"UPDATE api_keys SET {change} WHERE id = %s", child)  # noqa: S608
    assert rule_broken_by(refused.value) == rule


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("user_sessions_stay_revoked", "revoked_at = NULL"),
        ("user_sessions_stay_whose_they_are", "user_id = %s"),
        ("user_sessions_of_a_member", "organization_id = %s"),
    ],
)
def test_a_session_stays_whose_it_is(people: People, tree: Tree, rule: str, change: str) -> None:
    session_id, other = tree.session(), people.person()
    people.execute("UPDATE user_sessions SET revoked_at = now() WHERE id = %s", session_id)
    values = {"user_id = %s": [other.user_id], "organization_id = %s": [other.organization_id]}.get(change, [])
    with pytest.raises(psycopg.errors.IntegrityError) as refused:
        people.execute(f"UPDATE user_sessions SET {change} WHERE id = %s", *values, session_id)  # noqa: S608
    assert rule_broken_by(refused.value) == rule


def test_a_session_may_go_to_another_organization_of_its_person(people: People, tree: Tree) -> None:
    session_id, second = tree.session(), people.organization()
    people.execute("INSERT INTO memberships VALUES (%s, %s, 'user')", second, tree.person.user_id)
    people.execute("UPDATE user_sessions SET organization_id = %s WHERE id = %s", second, session_id)
    people.execute("DELETE FROM memberships WHERE organization_id = %s", tree.person.organization_id)
    assert tree.live() == {session_id}


@pytest.mark.parametrize("change", ["scopes = '[]'", "expires_at = NULL"])
def test_a_key_cannot_be_widened_beyond_its_parent(people: People, tree: Tree, change: str) -> None:
    people.execute(f"UPDATE api_keys SET scopes = '[\"{A}\"]', expires_at = {DAY} WHERE id = %s", tree.root)  # noqa: S608
    child = tree.child(scopes=(A,), expires="now() + interval '1 hour'")
    with pytest.raises(errors.CheckViolation):
        people.execute(f"UPDATE api_keys SET {change} WHERE id = %s", child)  # noqa: S608
    people.execute("UPDATE api_keys SET expires_at = now() + interval '2 hours' WHERE id = %s", child)


def test_scopes_that_are_taken_from_a_key_are_taken_from_all_below(people: People, tree: Tree) -> None:
    every, two, other = tree.child(), tree.child(scopes=(A, B)), tree.child(scopes=(C,))
    below_every, below_two = tree.child(every), tree.child(two, scopes=(B,))
    tree.child(other, scopes=(C,))
    people.execute("UPDATE api_keys SET scopes = %s WHERE id = %s", Jsonb([B, A]), tree.root)
    assert tree.scopes(every) == tree.scopes(below_every) == [B, A]
    assert tree.scopes(two) == [A, B]
    assert tree.live() == {tree.root, every, below_every, two, below_two}, (
        "what may do nothing is no key that may do all"
    )
    people.execute("UPDATE api_keys SET scopes = %s WHERE id = %s", Jsonb([A]), tree.root)
    assert tree.scopes(two) == [A]
    assert below_two not in tree.live()
    people.execute("UPDATE api_keys SET scopes = '[]' WHERE id = %s", tree.root)
    assert tree.scopes(every) == [A], "what is given to a key again is not given to those below"


LONG = 3_000


def test_a_chain_of_thousands_from_before_the_limit_ends_in_one_statement(
    people: People, tree: Tree, module_database: TestDatabase
) -> None:
    ids = [tree.root, *(new_id() for _ in range(LONG))]
    with psycopg.connect(module_database.admin) as connection:
        connection.execute("SET session_replication_role = replica")
        with connection.cursor() as cursor:
            cursor.executemany(
                tree.child_statement(tree.root).text.encode(),
                [tree.child_statement(key_id, parent).values for parent, key_id in pairwise(ids)],
            )
    people.execute("UPDATE api_keys SET scopes = %s, expires_at = now() WHERE id = %s", Jsonb([A]), ids[1])
    narrowed = people.execute(
        "SELECT count(*) FROM api_keys WHERE user_id = %s AND scopes = %s AND expires_at <= now()",
        tree.person.user_id, Jsonb([A]),
    )  # fmt: skip
    assert narrowed == [(LONG,)]
    tree.revoke(tree.root)
    assert tree.live() == set()


@pytest.mark.parametrize("end", ["DELETE FROM memberships", "UPDATE memberships SET organization_id = %s"])
def test_a_membership_that_is_given_again_revives_nothing(people: People, tree: Tree, end: str) -> None:
    tree.child(tree.child())
    tree.session()
    elsewhere = people.organization()
    parameters = [elsewhere] if "%s" in end else []
    people.execute(f"{end} WHERE user_id = %s", *parameters, tree.person.user_id)
    people.execute("INSERT INTO memberships VALUES (%s, %s, 'owner')", tree.person.organization_id, tree.person.user_id)
    assert tree.live() == set()
    assert people.execute("SELECT id FROM load_identities() WHERE user_id = %s", tree.person.user_id) == []


def test_a_membership_ends_for_its_organization_only_and_a_change_of_role_ends_nothing(
    people: People, tree: Tree
) -> None:
    second, colleague = people.organization(), people.person(organization_id=tree.person.organization_id)
    people.execute("INSERT INTO memberships VALUES (%s, %s, 'user')", second, tree.person.user_id)
    elsewhere, _ = people.key(second, tree.person.user_id)
    people.execute("UPDATE memberships SET role = 'viewer' WHERE user_id = %s", tree.person.user_id)
    assert tree.live() == {tree.root, elsewhere}
    people.execute("DELETE FROM memberships WHERE organization_id = %s AND user_id = %s",
                   tree.person.organization_id, tree.person.user_id)  # fmt: skip
    assert tree.live() == {elsewhere}
    assert people.execute("SELECT revoked_at FROM api_keys WHERE id = %s", colleague.api_key_id) == [(None,)]


@pytest.mark.parametrize("change", ["revoked_at = now()", "expires_at = now()", f"scopes = '[\"{A}\"]'"])
def test_every_process_is_told_of_every_key_that_a_change_reaches(
    people: People, tree: Tree, module_database: TestDatabase, change: str
) -> None:
    child = tree.child()
    keys = {tree.root, child, tree.child(child)}
    with psycopg.connect(module_database.api, autocommit=True) as listening:
        listening.execute("LISTEN identities")
        people.execute(f"UPDATE api_keys SET {change} WHERE id = %s", tree.root)  # noqa: S608
        told = {each.payload for each in listening.notifies(timeout=GIVE_UP_S, stop_after=len(keys))}
    assert told == {f"api_keys:{key_id}" for key_id in keys}


def test_what_slipped_through_before_ends_with_the_upgrade(postgres: TestPostgres) -> None:
    database = postgres.create_at("0012")
    people = People(database)
    try:
        gone, tree, stranger = Tree(people), Tree(people), Tree(people)
        gone_child, gone_session = gone.child(), gone.session()
        people.execute("UPDATE api_keys SET scopes = %s, expires_at = now() + interval '1 day' WHERE id = %s",
                       Jsonb([A, B]), tree.root)  # fmt: skip
        wide, disjoint, fitting = tree.child(), tree.child(scopes=(C,)), tree.child(scopes=(A,), expires="now()")
        below_wide = tree.child(wide)
        strange = stranger.child(tree.root)
        survivor = tree.child()
        tree.revoke(survivor)
        below_survivor = tree.child(survivor)
        gone.do(ending_of_membership(gone))
        assert {gone_child, gone_session} <= gone.live()
        upgrade(database.owner)
        assert gone.live() == set()
        assert tree.live() == {tree.root, wide, below_wide, fitting}
        assert {disjoint, survivor, below_survivor}.isdisjoint(tree.live())
        assert stranger.live() == {stranger.root}
        assert strange not in stranger.live()
        assert tree.scopes(below_wide) == [A, B]
        assert tree.scopes(fitting) == [A]
        ends = people.execute("SELECT count(DISTINCT expires_at) FROM api_keys WHERE id IN (%s, %s, %s)",
                              tree.root, wide, below_wide)  # fmt: skip
        assert ends == [(1,)]
    finally:
        people.close()
        postgres.drop(database)
