"""A worker or an API that somebody has taken over: what its database role refuses it, whatever it sends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import Connection, errors

from models.base.ids import new_id
from models.domain.identity.principal import Principal
from models.migrations.functions import read_functions
from models.settings.derived import DatabaseRole
from tests.factories.founded import founded
from tests.servers import TestDatabase

OF_THE_SERVER = (
    "SET ROLE quarterdeck_owner",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION quarterdeck_owner",
    "GRANT quarterdeck_owner TO quarterdeck_worker, quarterdeck_api",
    "ALTER ROLE quarterdeck_owner LOGIN PASSWORD 'mine'",
    "ALTER ROLE quarterdeck_worker SUPERUSER",
    "ALTER ROLE quarterdeck_api BYPASSRLS",
    "CREATE ROLE accomplice",
    "SELECT rolpassword FROM pg_authid",
    "SET session_replication_role = replica",
    "CREATE TABLE public.mine (id int)",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "CREATE TEMP TABLE mine (id int)",
    "DROP EXTENSION vector",
    "CREATE TRIGGER mine BEFORE INSERT ON instances EXECUTE FUNCTION notify_outbox()",
    "ALTER TABLE api_keys DISABLE TRIGGER ALL",
    "ALTER TABLE users NO FORCE ROW LEVEL SECURITY",
    "ALTER FUNCTION open_session OWNER TO quarterdeck_worker",
    "GRANT ALL ON user_sessions TO quarterdeck_worker",
    "DROP FUNCTION open_session",
    "TRUNCATE action_logs",
    "COPY events TO PROGRAM 'cat'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT * FROM live_identities",
    "SELECT * FROM routable_instances",
    "SELECT judge_heartbeats('[]')",
    "SELECT drop_sample_partitions('users', interval '1 day', now())",
    "SELECT create_sample_partition('users', now(), now())",
    "SELECT narrow_descendants_of_key()",
    "DELETE FROM users",
    "DELETE FROM memberships",
    "DELETE FROM api_keys",
    "DELETE FROM user_sessions",
    "DELETE FROM billing_segments",
    "DELETE FROM action_logs",
    "DELETE FROM events",
    "INSERT INTO users DEFAULT VALUES",
    "INSERT INTO organizations DEFAULT VALUES",
    "INSERT INTO memberships DEFAULT VALUES",
    "INSERT INTO user_sessions DEFAULT VALUES",
    "INSERT INTO inference_requests DEFAULT VALUES",
    "INSERT INTO models DEFAULT VALUES",
    "SELECT * FROM user_sessions",
    "UPDATE users SET password_hash = 'mine'",
    "UPDATE users SET is_superadmin = true",
    "UPDATE organizations SET allow_registration = true",
    "UPDATE memberships SET role = 'owner'",
    "UPDATE user_sessions SET expires_at = 'infinity'",
    "UPDATE api_keys SET scopes = '[\"*\"]'",
    "UPDATE api_keys SET key_hash = 'mine'",
    "UPDATE api_keys SET expires_at = NULL",
    "UPDATE api_keys SET parent_id = NULL",
    "UPDATE action_logs SET user_id = NULL",
    "UPDATE events SET data = '{}'",
    "UPDATE billing_segments SET price_eur_per_hour = 0",
    "UPDATE billing_segments SET opened_at = now()",
    "UPDATE inference_requests SET output_tokens = 0",
    "UPDATE instances SET price_eur_per_hour = 0",
    "UPDATE instances SET organization_id = organization_id",
    "UPDATE operations SET requested_by_user_id = NULL",
    "UPDATE instance_types SET price_eur_per_hour = 0",
    "UPDATE installation SET payloads_bound_since = now()",
    "UPDATE worker_tokens SET bootstrap_hash = 'mine'",
    "UPDATE outbox SET workflow_id = 'instance/mine'",
)
OF_A_WORKER = (
    "SELECT * FROM users",
    "SELECT * FROM organizations",
    "SELECT * FROM memberships",
    "SELECT * FROM api_keys",
    "SELECT * FROM outbox",
    "SELECT * FROM idempotency_keys",
    "SELECT * FROM inference_requests",
    "SELECT * FROM inference_results",
    "SELECT * FROM action_logs",
    "SELECT * FROM provider_settings",
    "SELECT * FROM system_samples",
    "INSERT INTO api_keys DEFAULT VALUES",
    "INSERT INTO outbox DEFAULT VALUES",
    "INSERT INTO instances DEFAULT VALUES",
    "INSERT INTO operations DEFAULT VALUES",
    "INSERT INTO instance_liveness DEFAULT VALUES",
    "UPDATE api_keys SET revoked_at = NULL",
    "UPDATE instances SET desired_status = 'terminated'",
    "UPDATE worker_tokens SET token_hash = 'mine'",
    "DELETE FROM inference_results",
    "DELETE FROM idempotency_keys",
    "INSERT INTO schedules DEFAULT VALUES",
    "UPDATE schedules SET is_paused = false",
    "SELECT change_password(%(user)s, %(id)s, 'known', 'mine')",
    "SELECT find_sign_in('admin')",
    "SELECT hold_maker_of_key(%(user)s, NULL, %(id)s, now())",
    "SELECT recent_sign_ins(1, 24, 64, 1, 1)",
    "SELECT open_session(%(id)s, %(user)s, %(organization)s, 'known', 'mine', '', '', now())",
    "SELECT revoke_session('some')",
    "SELECT ensure_personal_organization(%(user)s, %(id)s)",
    "SELECT load_identities()",
    "SELECT load_identities_of(ARRAY[%(id)s], ARRAY[%(user)s])",
    "SELECT touch_identities('{}', '{}', '{}', '{}')",
    "SELECT locate_worker_token(%(id)s, 'some')",
    "SELECT record_heartbeats('[]')",
    "SELECT record_inference('[]')",
    "SELECT load_routes(NULL)",
    "SELECT note_heartbeat_intake(1)",
    "SELECT count_stuck_messages(0, 1)",
    "SELECT count_unowned_machines()",
    "INSERT INTO unowned_machines DEFAULT VALUES",
    "DELETE FROM unowned_machines",
    "SELECT segment_cost_eur(now(), now(), 1, 1, 1)",
    "SELECT purge_inference_results()",
    "SELECT count_alarms()",
    "SELECT * FROM alarms",
)
OF_AN_API = (
    "SELECT payload FROM outbox",
    "SELECT * FROM installation",
    "SELECT * FROM instance_state_history",
    "UPDATE instances SET status = 'ready', endpoint_host = 'mine.example'",
    "UPDATE instances SET machine_spec = '{}'",
    "UPDATE operations SET result = '{}'",
    "UPDATE worker_tokens SET revoked_at = NULL",
    "UPDATE worker_tokens SET bootstrap_expires_at = 'infinity'",
    "INSERT INTO worker_tokens DEFAULT VALUES",
    "INSERT INTO billing_segments DEFAULT VALUES",
    "INSERT INTO instance_volumes DEFAULT VALUES",
    "UPDATE billing_segments SET closed_at = now()",
    "SELECT claim_outbox(1, 1)",
    "SELECT postpone_outbox(%(id)s, 'X', 1)",
    "SELECT alarm_outbox(%(id)s)",
    "SELECT mark_stale_instances(0, 0)",
    "SELECT doubt_unheard_agents(0, 1)",
    "SELECT settle_instance_zone(%(id)s, 'sim-b')",
    "SELECT unfinished_instances(0)",
    "SELECT instances_without_need('{}', 0)",
    "SELECT unfinished_rows('instances', '{}', 0)",
    "SELECT waiting_operations(1)",
    "SELECT rows_without_need('instances', '{}', '{}', 0)",
    "SELECT keep_rows_open('instances', '{}', '{}')",
    "SELECT judge_machines('[]')",
    "SELECT report_unowned_machine('cloud-mock', 'no_row', '{}')",
    "SELECT settle_unowned_machine('cloud-mock', 'm-1', true)",
    "SELECT read_schedules()",
    "SELECT settle_schedule(%(id)s, 1, NULL, NULL)",
    "SELECT drop_schedule(%(id)s, 1)",
    "SELECT retire_schedules('instance', ARRAY[%(id)s]::uuid[])",
    "SELECT order_scheduled(%(id)s, %(id)s, 'Instance', 'instance/x', 'instance_id', '{}', 'x')",
    "DELETE FROM schedules",
    "UPDATE schedules SET applied_digest = NULL",
    "SELECT * FROM unowned_machines",
    "SELECT * FROM machine_listings",
    "UPDATE unowned_machines SET end_requested_at = now()",
    "UPDATE installation SET sweep_mark = NULL",
    "UPDATE installation SET sweep_marked_at = now()",
    "SELECT delivered_since_mark()",
    "SELECT purge_expired(0, 0)",
    "SELECT roll_up_samples(now())",
    "SELECT ensure_sample_partitions('system_samples', now())",
    "SELECT forget_unreferred_blobs(0, 1)",
    "SELECT known_blob_objects(ARRAY[%(id)s::uuid])",
    "SELECT raise_alarm('X', 'x', %(id)s, NULL, NULL, NULL, NULL, '{}')",
    "SELECT clear_alarm('X', 'x')",
    "SELECT clear_alarms_of(%(id)s)",
    "UPDATE alarms SET cleared_at = now()",
)


@dataclass(frozen=True)
class Attempt:
    role: str
    statement: str

    def __str__(self) -> str:
        return f"{self.role}: {self.statement}"


ATTEMPTS = [
    *(Attempt(role, statement) for role in ("worker", "api") for statement in OF_THE_SERVER),
    *(Attempt("worker", statement) for statement in OF_A_WORKER),
    *(Attempt("api", statement) for statement in OF_AN_API),
]


@contextmanager
def taken_over(database: TestDatabase, role: str, principal: Principal) -> Iterator[Connection[Any]]:
    """A transaction of that role, which says that it is of the principal's organization, and may say so of any."""
    with psycopg.connect(getattr(database, role)) as connection:
        connection.execute(
            "SELECT set_config('app.organization_id', %s, true), set_config('app.user_id', %s, true)",
            [str(principal.organization_id), str(principal.user_id)],
        )
        yield connection
        connection.rollback()


@pytest.fixture(scope="module")
def principal(module_database: TestDatabase) -> Principal:
    return asyncio.run(founded(module_database))


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=str)
def test_it_is_refused_for_want_of_the_right(
    module_database: TestDatabase, principal: Principal, attempt: Attempt
) -> None:
    values = {"id": new_id(), "user": principal.user_id, "organization": principal.organization_id}
    with taken_over(module_database, attempt.role, principal) as connection:
        with pytest.raises(errors.InsufficientPrivilege) as told:
            connection.execute(attempt.statement, values if "%(" in attempt.statement else None)
        assert "row-level security" not in str(told.value), "a policy refused it, not the right that is missing"


def test_every_function_of_one_role_is_tried_by_the_other() -> None:
    executors = {one.name: one.executors for one in read_functions()}
    tried = {DatabaseRole.WORKER: " ".join(OF_A_WORKER), DatabaseRole.API: " ".join(OF_AN_API)}
    for other, statements in tried.items():
        assert {name for name, roles in executors.items() if roles and other not in roles} == {
            name for name in executors if f"SELECT {name}(" in statements
        }


@pytest.mark.parametrize("table", ["users", "api_keys; DROP TABLE users", "system_samples_p_default", "pg_authid"])
def test_upkeep_of_samples_is_of_samples(module_database: TestDatabase, principal: Principal, table: str) -> None:
    with (
        taken_over(module_database, "worker", principal) as connection,
        pytest.raises(errors.NoDataFound),
    ):
        connection.execute("SELECT ensure_sample_partitions(%s, now())", [table])


@pytest.mark.parametrize("role", ["worker", "api"])
def test_a_transaction_of_one_organization_says_nothing_in_anothers_name(
    module_database: TestDatabase, principal: Principal, role: str
) -> None:
    theirs = new_id()
    for stream in (f"organization/{theirs}", f"organization/{principal.organization_id}"):
        with (
            taken_over(module_database, role, principal) as connection,
            pytest.raises(errors.InsufficientPrivilege, match="row-level security"),
        ):
            connection.execute("SELECT append_event(%s, %s, 'instance.updated', '{}')", [stream, theirs])


@pytest.mark.parametrize("role", ["worker", "api"])
def test_an_event_is_numbered_in_no_stream_of_another_organization(
    module_database: TestDatabase, principal: Principal, role: str
) -> None:
    """Written past `append_event`, as its own organization's, into another one's stream."""
    stream, other = f"organization/{new_id()}", new_id()
    with psycopg.connect(module_database.admin) as connection:
        connection.execute("SET session_replication_role = replica")  # the organization is not there
        connection.execute(
            "INSERT INTO event_streams (stream, organization_id, last_seq) VALUES (%s, %s, 7)", [stream, other]
        )
    with taken_over(module_database, role, principal) as connection:
        connection.execute(
            "INSERT INTO events (stream, seq, organization_id, kind, data) VALUES (%s, -1, %s, 'mine', '{}')",
            [stream, principal.organization_id],
        )
        with pytest.raises(errors.InsufficientPrivilege, match="another organization"):
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
