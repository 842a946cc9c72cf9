"""The words that families add to open enumerations: found by listing, so that adding one is no edit of anybody else's file."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules

import models.contracts
from models.contracts.owner_kinds import OwnerKind
from models.domain.sentences import HOLDS


def owner_kinds() -> Iterator[OwnerKind]:
    """Of every family: the `OWNER_KINDS` of `models/contracts/<family>/owner_kinds.py`."""
    for family in iter_modules(models.contracts.__path__, "models.contracts."):
        if family.ispkg and find_spec(f"{family.name}.owner_kinds") is not None:
            yield from import_module(f"{family.name}.owner_kinds").OWNER_KINDS


def family_words() -> Mapping[str, frozenset[str]]:
    """By the name of the CHECK that allows them."""
    return {
        "operationkind": frozenset(word for kind in owner_kinds() for word in kind.operations),
        "holdcode": frozenset(HOLDS),
    }
