"""How many files and sockets this process may have open."""

import resource

MOST_FILES = 1_048_576
"""As much as Linux allows a process by default (`fs.nr_open`); a hard limit above it may be none that can be had."""


def allow_open_files() -> int:
    """Raise the soft limit to the hard one, for this process and those that it starts; the limit from now on.

    The soft limit that most systems begin with, 1,024, is for programs that use select(2). Nobody here does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # a kernel that allows less than it says, as macOS does
            return soft
        return wanted
    return MOST_FILES if soft == resource.RLIM_INFINITY else soft
