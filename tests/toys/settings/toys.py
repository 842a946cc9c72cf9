"""What an operator can set of toys."""

from models.settings.values import FamilySettings


class ToySettings(FamilySettings):
    toy_most: int = 1000
    """Most toys that an organization has."""


FAMILY = ToySettings
