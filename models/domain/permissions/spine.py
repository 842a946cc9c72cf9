"""What may be done with the operations of every family, and with the record of them."""

from typing import Final

from models.domain.identity.grants import Grants, Permission


class SpinePermission(Permission):
    ACTIVITY_READ = "activity:read"
    OPERATIONS_READ = "operations:read"
    OPERATIONS_WRITE = "operations:write"
    APPROVALS_READ = "approvals:read"
    APPROVALS_DECIDE = "approvals:decide"  # those whose own permission one has


FAMILY: Final = Grants(
    viewer=frozenset({SpinePermission.ACTIVITY_READ, SpinePermission.OPERATIONS_READ, SpinePermission.APPROVALS_READ}),
    user=frozenset({SpinePermission.APPROVALS_DECIDE}),
    admin=frozenset({SpinePermission.OPERATIONS_WRITE}),
)
