"""Blobs: bytes of an organization that are too many for a row. Here is which there are and what needs them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Text, UniqueConstraint
from sqlmodel import Column, Field, SQLModel

from models.tables.access import ALL, DELETE, INSERT, SELECT, UPDATE, Rights, tenant_table
from models.tables.columns import big_integer, identifier, moment, primary_key, reference, text

_KEPT: Rights = {SELECT: ALL, INSERT: ALL, UPDATE: ("object_id", "touched_at"), DELETE: ALL}
_REFERRED: Rights = {SELECT: ALL, INSERT: ALL, DELETE: ALL}


class Blob(SQLModel, table=True):
    """The object of a row was written before it. `touched_at`: put or let go last, from when the grace time counts."""

    __tablename__ = "blobs"
    __table_args__ = tenant_table(
        UniqueConstraint("object_id", name="blobs_object"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="blobs_sha256"),
        api=_KEPT,
        worker=_KEPT,
    )

    organization_id: UUID = reference("organizations.id", primary=True)
    sha256: str = Field(sa_column=Column(Text, primary_key=True))
    object_id: UUID = identifier()
    size_bytes: int = big_integer()
    created_at: datetime = moment(default_now=True)
    touched_at: datetime = moment(default_now=True)


class BlobReference(SQLModel, table=True):
    """A resource that needs a blob: as long as there is one, the blob stays."""

    __tablename__ = "blob_references"
    __table_args__ = tenant_table(
        ForeignKeyConstraint(
            ["organization_id", "sha256"], ["blobs.organization_id", "blobs.sha256"], name="blob_references_blob"
        ),
        UniqueConstraint("organization_id", "sha256", "resource_kind", "resource_id", name="blob_references_resource"),
        UniqueConstraint("resource_id", "resource_kind", "sha256", name="blob_references_of_resource"),
        api=_REFERRED,
        worker=_REFERRED,
    )

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id", index=False)
    sha256: str = text()
    resource_kind: str = text()
    resource_id: UUID = identifier()
    created_at: datetime = moment(default_now=True)
