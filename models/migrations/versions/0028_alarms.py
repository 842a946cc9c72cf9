"""Alarms have a table of their own; what is alarmed already is in it."""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

ALARMS = """
CREATE TABLE alarms (
    id uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations (id),
    code text NOT NULL,
    subject text NOT NULL,
    resource_kind text,
    resource_id uuid,
    params jsonb NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    cleared_at timestamptz
);
CREATE INDEX ix_alarms_organization_id ON alarms (organization_id);
CREATE UNIQUE INDEX ix_alarms_open ON alarms (code, subject) WHERE cleared_at IS NULL;
CREATE INDEX ix_alarms_cleared ON alarms (cleared_at) WHERE cleared_at IS NOT NULL;
"""

MESSAGES = """
INSERT INTO alarms (id, organization_id, code, subject, resource_kind, resource_id, params, since)
SELECT gen_random_uuid(), organization_id, 'MESSAGE_NOT_DELIVERED', id::text, resource_kind, resource_id,
    jsonb_build_object('message_id', id, 'kind', kind, 'cause', last_error_code), alarmed_at
FROM outbox WHERE delivered_at IS NULL AND alarmed_at IS NOT NULL
"""

MACHINES = """
INSERT INTO alarms (id, organization_id, code, subject, resource_kind, resource_id, params)
SELECT gen_random_uuid(), o.id, 'MACHINE_WITHOUT_OWNER', m.provider_queue || '/' || m.provider_instance_id,
    CASE WHEN i.id IS NULL THEN NULL ELSE 'instance' END, i.id,
    jsonb_build_object('provider_instance_id', m.provider_instance_id, 'provider', m.provider_queue, 'zone', m.zone)
FROM unowned_machines m LEFT JOIN instances i ON i.id = m.instance_id
JOIN LATERAL (
    SELECT id FROM organizations WHERE id = i.organization_id OR (i.id IS NULL AND NOT is_personal)
    ORDER BY created_at, id LIMIT 1
) o ON true
"""


def upgrade() -> None:
    op.execute(ALARMS)
    op.execute(MESSAGES)
    op.execute(MACHINES)
