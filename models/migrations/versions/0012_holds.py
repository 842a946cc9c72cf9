"""What an owner holds for and since when, on the instance and on its open operations."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

CODES = (
    "PROVIDER_UNAVAILABLE",
    "PROVIDER_THROTTLED",
    "PROVIDER_AUTH",
    "PROVIDER_REJECTED",
    "PROVIDER_ERROR",
    "NO_CAPACITY",
    "NO_WORKER",
    "DELETION_PENDING",
    "SERVICE_UNAVAILABLE",
    "INTERNAL",
)


def upgrade() -> None:
    codes = ", ".join(f"'{code}'" for code in CODES)
    for table in ("instances", "operations"):
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN held_code varchar(40) CONSTRAINT holdcode CHECK (held_code IN ({codes})), "
            "ADD COLUMN held_since timestamptz"
        )
