"""Whether database and workflow engine are of one time, and which owners' instances need none."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

MARK = "ALTER TABLE installation ADD COLUMN sweep_mark uuid"

NEED = """
-- Of instances that have an owner those that need none: there is no such row, or it is over for some time.
CREATE FUNCTION instances_without_need(p_ids uuid[], p_settled_s double precision) RETURNS TABLE (instance_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT owned.id FROM unnest(p_ids) owned(id) LEFT JOIN instances i ON i.id = owned.id
    WHERE i.id IS NULL OR (i.status IN ('terminated', 'archived')
        AND coalesce(i.terminated_at, i.created_at) < now() - make_interval(secs => p_settled_s))
$$;
"""


def upgrade() -> None:
    op.execute(MARK)
    op.execute(NEED)
