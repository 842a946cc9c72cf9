"""From when on this installation binds payloads to their place in Temporal.

What an open run of before holds is bound to no place, and opens in such runs only. For an installation that exists the moment is
that of this migration, for a new one that of its foundation. It is kept here because whoever reaches Temporal can write there.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "installation",
        sa.Column("payloads_bound_since", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
