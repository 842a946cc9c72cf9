"""An event of an organization has its number from the end of its transaction on, and its stream then: it may be there before it."""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE events DROP CONSTRAINT events_stream_fkey")
