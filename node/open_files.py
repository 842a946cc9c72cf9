"""How many files and sockets this process may have open."""

import contextlib
import resource


def allow_open_files() -> None:
    """Raise the soft limit, 1,024 on most systems, to the hard one. Nobody here uses select(2), for which that limit was made."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # a kernel that allows less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
