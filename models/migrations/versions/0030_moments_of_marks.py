"""When the last sweep left its mark."""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE installation ADD COLUMN sweep_marked_at timestamptz")
