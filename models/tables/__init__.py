"""Every table, imported once, so that `metadata` is complete for migrations and checks."""

from sqlmodel import SQLModel

from models.tables import activity, billing, catalog, identity, inference, installation, instances, operations, samples

metadata = SQLModel.metadata

__all__ = [
    "activity",
    "billing",
    "catalog",
    "identity",
    "inference",
    "installation",
    "instances",
    "metadata",
    "operations",
    "samples",
]
