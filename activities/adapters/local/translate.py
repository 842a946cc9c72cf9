"""Failures of the operating system, in the vocabulary of `models.base.errors`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from models.base.errors import ProviderUnavailable


@contextmanager
def translated() -> Iterator[None]:
    """A full disk or a missing right can be repaired, so the call may be repeated. No path enters the message."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise ProviderUnavailable(f"this machine refused: {reason}") from error
