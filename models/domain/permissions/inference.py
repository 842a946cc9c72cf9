"""Who may have models answer."""

from typing import Final

from models.domain.identity.grants import Grants, Permission


class InferencePermission(Permission):
    INFERENCE = "inference:call"


FAMILY: Final = Grants(user=frozenset({InferencePermission.INFERENCE}))
