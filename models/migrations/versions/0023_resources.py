"""Messages, action logs and bills name what they are about whatever it is; a bill may be of something that is no instance."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

OUTBOX = """
ALTER TABLE outbox ADD COLUMN resource_kind text, ADD COLUMN resource_id uuid, ADD COLUMN provider_code text;
UPDATE outbox o SET resource_kind = 'instance', resource_id = i.id, provider_code = i.provider_code
    FROM instances i WHERE o.delivered_at IS NULL AND o.workflow_id = 'instance/' || i.id;
"""

ACTION_LOGS = """
ALTER TABLE action_logs ADD COLUMN resource_kind text, ADD COLUMN resource_id uuid;
UPDATE action_logs SET resource_kind = 'instance', resource_id = instance_id WHERE instance_id IS NOT NULL;
ALTER TABLE action_logs ADD CONSTRAINT action_logs_resource CHECK ((resource_kind IS NULL) = (resource_id IS NULL));
"""

BILLS = """
ALTER TABLE billing_segments ADD COLUMN resource_kind text, ADD COLUMN resource_id uuid;
UPDATE billing_segments SET resource_kind = 'instance', resource_id = instance_id;
ALTER TABLE billing_segments ALTER COLUMN resource_kind SET NOT NULL, ALTER COLUMN resource_id SET NOT NULL,
    ALTER COLUMN instance_id DROP NOT NULL,
    ADD CONSTRAINT billing_segments_resource UNIQUE (resource_id, provider_resource_id, opened_at);
"""


def upgrade() -> None:
    op.execute(OUTBOX)
    op.execute(ACTION_LOGS)
    op.execute(BILLS)
