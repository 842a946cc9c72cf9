"""What messages, action logs and bills are about: an instance, as rows of before have it, or anything else."""

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from models.migrations import upgrade
from tests.factories.any_rows import insert_any
from tests.servers import TestDatabase, TestPostgres

BEFORE = "0022"
TABLES = ("outbox", "action_logs", "billing_segments")

WRITTEN_OF_AN_INSTANCE = {
    "outbox": "INSERT INTO outbox (id, organization_id, kind, workflow, workflow_id, payload, attempts) VALUES "
    "(gen_random_uuid(), %(organization)s, 'start', 'Instance', 'instance/' || %(id)s, jsonb_build_object('instance_id', %(id)s::text), 0)",
    "action_logs": "INSERT INTO action_logs (id, organization_id, action_type, component, status, instance_id, details) VALUES "
    "(gen_random_uuid(), %(organization)s, 'X', 'api', 'success', %(id)s, '{}')",
    "billing_segments": "INSERT INTO billing_segments (id, organization_id, instance_id, provider_resource_id, usage_kind, "
    "price_eur_per_hour, price_source, billing_increment_s, billing_minimum_s, opened_at) VALUES "
    "(gen_random_uuid(), %(organization)s, %(id)s, 'i-1', 'compute', 1, 'catalog', 1, 0, now())",
}
"""As a process of before does, and functions of the fleet do."""


class Written:
    """An organization with an instance, which refers to nothing else that exists."""

    def __init__(self, connection: psycopg.Connection[dict[str, Any]]) -> None:
        self.connection, self.organization_id = connection, uuid4()
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "INSERT INTO organizations (id, name, slug, is_personal, allow_registration) VALUES (%s, 'X', 'x', false, false)",
            [self.organization_id],
        )
        insert_any(connection, "instances", self.organization_id)
        connection.execute("UPDATE instances SET provider_code = 'mock'")
        connection.execute("SET session_replication_role = origin")
        [row] = connection.execute("SELECT id FROM instances").fetchall()
        self.instance_id: UUID = row["id"]

    def of_the_instance(self, table: str) -> None:
        values = {"organization": self.organization_id, "id": str(self.instance_id)}
        self.connection.execute(WRITTEN_OF_AN_INSTANCE[table], values)

    def only(self, table: str) -> dict[str, Any]:
        [row] = self.connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 (a constant)
        return row


@pytest.mark.parametrize("table", TABLES)
def test_rows_of_before_are_about_their_instance(postgres: TestPostgres, table: str) -> None:
    database = postgres.create_at(BEFORE)
    try:
        with psycopg.connect(database.admin, autocommit=True, row_factory=dict_row) as connection:
            written = Written(connection)
            written.of_the_instance(table)
            upgrade(database.owner)
            row = written.only(table)
        assert (row["resource_kind"], row["resource_id"]) == ("instance", written.instance_id)
        assert row.get("provider_code", "mock") == "mock"
    finally:
        postgres.drop(database)


@pytest.mark.parametrize("table", TABLES)
def test_whoever_names_the_instance_alone_is_understood(database: TestDatabase, table: str) -> None:
    with psycopg.connect(database.admin, autocommit=True, row_factory=dict_row) as connection:
        written = Written(connection)
        written.of_the_instance(table)
        row = written.only(table)
    assert (row["resource_kind"], row["resource_id"]) == ("instance", written.instance_id)
    assert row.get("provider_code", "mock") == "mock"
    assert row.get("instance_id", written.instance_id) == written.instance_id


@pytest.mark.parametrize(("kind", "is_instance"), [("instance", True), ("gadget", False)])
def test_a_line_about_a_resource_names_the_instance_where_it_is_one(
    database: TestDatabase, kind: str, is_instance: bool
) -> None:
    with psycopg.connect(database.admin, autocommit=True, row_factory=dict_row) as connection:
        written = Written(connection)
        connection.execute(
            "INSERT INTO action_logs (id, organization_id, action_type, component, status, resource_kind, resource_id, details) "
            "VALUES (gen_random_uuid(), %s, 'X', 'api', 'success', %s, %s, '{}')",
            [written.organization_id, kind, written.instance_id],
        )
        row = written.only("action_logs")
    assert row["resource_id"] == written.instance_id
    assert row["instance_id"] == (written.instance_id if is_instance else None)


BILL_OF_A_GADGET = (
    "INSERT INTO billing_segments (id, organization_id, resource_kind, resource_id, provider_resource_id, usage_kind, "
    "price_eur_per_hour, price_source, billing_increment_s, billing_minimum_s, opened_at) VALUES "
    "(gen_random_uuid(), %(organization)s, 'gadget', %(id)s, 'g-1', 'compute', 1, 'catalog', 1, 0, '2026-01-31 10:00Z')"
)


def test_a_bill_may_be_of_something_that_is_no_instance_and_is_opened_once(database: TestDatabase) -> None:
    with psycopg.connect(database.admin, autocommit=True, row_factory=dict_row) as connection:
        values = {"organization": Written(connection).organization_id, "id": uuid4()}
        connection.execute(BILL_OF_A_GADGET, values)
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(BILL_OF_A_GADGET, values)
        [row] = connection.execute("SELECT * FROM billing_segments").fetchall()
    assert (row["instance_id"], row["resource_kind"], row["resource_id"]) == (None, "gadget", values["id"])
