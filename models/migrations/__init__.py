"""Schema changes. `upgrade` brings a database to this version; `ensure_roles` prepares a fresh server for it."""

from models.migrations.roles import ensure_roles
from models.migrations.run import current_revision, head_revision, is_current, knows_revision, upgrade

__all__ = ["current_revision", "ensure_roles", "head_revision", "is_current", "knows_revision", "upgrade"]
