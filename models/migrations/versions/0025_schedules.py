"""What is to be done again and again for a resource is a row."""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

SCHEDULES = """
CREATE TABLE schedules (
    id uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations (id),
    kind text NOT NULL,
    resource_kind text NOT NULL,
    resource_id uuid NOT NULL,
    operation_kind text,
    cron text,
    interval_s integer,
    time_zone text NOT NULL,
    overlap varchar(40) NOT NULL CONSTRAINT overlap CHECK (overlap IN ('skip', 'buffer_one', 'allow')),
    is_paused boolean NOT NULL,
    revision bigint NOT NULL,
    state varchar(40) NOT NULL CONSTRAINT schedulestate CHECK (state IN ('pending', 'applied', 'refused', 'removing')),
    applied_revision bigint NOT NULL,
    applied_digest text,
    error_code text,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    applied_at timestamptz,
    CONSTRAINT schedules_of_resource UNIQUE (resource_id, kind),
    CONSTRAINT schedules_timing CHECK (cron IS NULL OR interval_s IS NULL)
);
CREATE INDEX ix_schedules_listing ON schedules (organization_id, resource_id);
"""


def upgrade() -> None:
    op.execute(SCHEDULES)
