"""Who may do what with toys."""

from models.domain.identity.grants import Grants, Permission


class ToyPermission(Permission):
    READ = "toys:read"
    WRITE = "toys:write"


FAMILY = Grants(viewer=frozenset({ToyPermission.READ}), user=frozenset({ToyPermission.WRITE}))
