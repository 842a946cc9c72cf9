"""Roles in an organization and what each may do (contract decision 4, contract/fleet.md 8)."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from models.base.listing import exported
from models.domain import permissions
from models.domain.identity.grants import Grants, Permission


class Role(StrEnum):
    OWNER = "owner"
    ADMIN = "admin"
    MANAGER = "manager"
    USER = "user"
    VIEWER = "viewer"


def _granted() -> Iterator[tuple[Role, frozenset[Permission]]]:
    """A role may all that the ones before it may."""
    families = exported(permissions, "FAMILY", Grants)
    may_all: frozenset[Permission] = frozenset()
    for role in (Role.VIEWER, Role.USER, Role.MANAGER, Role.ADMIN):
        may_all = may_all.union(*(getattr(family, role.value) for family in families))
        yield role, may_all
    yield Role.OWNER, may_all


PERMISSIONS: Final = dict(_granted())


def may(role: Role, permission: Permission) -> bool:
    return permission in PERMISSIONS[role]
