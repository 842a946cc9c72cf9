"""Every table, so that `metadata` is complete for migrations and checks: whatever module lies here or in a family's folder."""

from importlib import import_module
from pkgutil import walk_packages

from sqlmodel import SQLModel

for _module in walk_packages(__path__, f"{__name__}."):
    import_module(_module.name)

metadata = SQLModel.metadata
TABLES = tuple(metadata.tables.values())
"""Of the product. What else joins `metadata` later, as a table of a test's, is none of them."""

__all__ = ["TABLES", "metadata"]
