"""Nothing of tables. A worker of this version keeps a resource open while its schedule orders something, by a function that one of
before would drop (decision 74).
"""

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """There is nothing to change."""
