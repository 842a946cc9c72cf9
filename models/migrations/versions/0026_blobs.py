"""Blobs, and what needs them."""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

BLOBS = """
CREATE TABLE blobs (
    organization_id uuid NOT NULL REFERENCES organizations (id),
    sha256 text NOT NULL CONSTRAINT blobs_sha256 CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    object_id uuid NOT NULL CONSTRAINT blobs_object UNIQUE,
    size_bytes bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    touched_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, sha256)
);
"""

REFERENCES = """
CREATE TABLE blob_references (
    id uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations (id),
    sha256 text NOT NULL,
    resource_kind text NOT NULL,
    resource_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT blob_references_blob FOREIGN KEY (organization_id, sha256) REFERENCES blobs (organization_id, sha256),
    CONSTRAINT blob_references_resource UNIQUE (organization_id, sha256, resource_kind, resource_id),
    CONSTRAINT blob_references_of_resource UNIQUE (resource_id, resource_kind, sha256)
);
"""


def upgrade() -> None:
    op.execute(BLOBS)
    op.execute(REFERENCES)
