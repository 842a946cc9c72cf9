"""Roles in an organization and what each may do (contract decision 4, contract/fleet.md 8)."""

from enum import StrEnum


class Role(StrEnum):
    OWNER = "owner"
    ADMIN = "admin"
    MANAGER = "manager"
    USER = "user"
    VIEWER = "viewer"


class Permission(StrEnum):
    INSTANCES_READ = "instances:read"
    INSTANCES_WRITE = "instances:write"  # deploy, reinstall, terminate, archive: they spend or destroy
    MODELS_READ = "models:read"
    CATALOG_READ = "catalog:read"
    ACTIVITY_READ = "activity:read"
    OPERATIONS_READ = "operations:read"
    OPERATIONS_WRITE = "operations:write"
    API_KEYS_OWN = "api_keys:own"
    INFERENCE = "inference:call"


_VIEWER = frozenset(
    {
        Permission.INSTANCES_READ,
        Permission.MODELS_READ,
        Permission.CATALOG_READ,
        Permission.ACTIVITY_READ,
        Permission.OPERATIONS_READ,
    }
)
_USER = _VIEWER | {Permission.API_KEYS_OWN, Permission.INFERENCE}
_ADMIN = _USER | {Permission.INSTANCES_WRITE, Permission.OPERATIONS_WRITE}

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.OWNER: _ADMIN,
    Role.ADMIN: _ADMIN,
    Role.MANAGER: _USER,
    Role.USER: _USER,
    Role.VIEWER: _VIEWER,
}


def may(role: Role, permission: Permission) -> bool:
    return permission in PERMISSIONS[role]
