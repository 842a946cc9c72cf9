"""What a person may do with keys."""

from typing import Final

from models.domain.identity.grants import Grants, Permission


class IdentityPermission(Permission):
    API_KEYS_OWN = "api_keys:own"


FAMILY: Final = Grants(user=frozenset({IdentityPermission.API_KEYS_OWN}))
