"""What owners ask of people, and operations that wait for the answer.

The index of a resource's operations was one of the open ones. Statements that are planned once, without their values, could not use
it, and what is open is now another set of words.
"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

APPROVALS = """
CREATE TABLE approvals (
    id uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations (id),
    resource_kind text NOT NULL,
    resource_id uuid NOT NULL,
    operation_id uuid REFERENCES operations (id),
    code text NOT NULL,
    params jsonb NOT NULL,
    permission text NOT NULL,
    asker_may_approve boolean NOT NULL,
    asked_for_user_id uuid REFERENCES users (id),
    cost_eur numeric(18, 6),
    asked_at timestamptz NOT NULL,
    until timestamptz NOT NULL,
    on_deadline varchar(40) NOT NULL CONSTRAINT verdict CHECK (on_deadline IN ('approve', 'reject')),
    status varchar(40) NOT NULL
        CONSTRAINT approvalstatus CHECK (status IN ('pending', 'approved', 'rejected', 'withdrawn')),
    decided_by varchar(40) CONSTRAINT decidedby CHECK (decided_by IN ('person', 'deadline')),
    decided_by_user_id uuid REFERENCES users (id),
    decided_by_api_key_id uuid REFERENCES api_keys (id),
    decided_at timestamptz,
    comment text
);
CREATE INDEX ix_approvals_listing ON approvals (organization_id, asked_at, id);
CREATE INDEX ix_approvals_operation ON approvals (operation_id);
CREATE UNIQUE INDEX ix_approvals_question ON approvals (resource_id, operation_id, code) NULLS NOT DISTINCT;
"""

OPERATIONS = """
ALTER TABLE operations DROP CONSTRAINT operationstatus,
    ADD CONSTRAINT operationstatus
        CHECK (status IN ('pending', 'running', 'waiting_approval', 'succeeded', 'failed', 'cancelled')) NOT VALID;
CREATE INDEX ix_operations_resource ON operations (resource_id);
DROP INDEX ix_operations_open;
"""


def upgrade() -> None:
    op.execute(APPROVALS)
    op.execute(OPERATIONS)
