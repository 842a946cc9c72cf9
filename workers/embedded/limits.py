"""What `quarterdeck doctor` says of the limits that a process is given by its starter (`ulimit`, a systemd unit, a container)."""

import resource

from workers.embedded.finding import Finding

NEEDED_FILES = 256
"""The API accepts 64 connections however few files it may open, needs two for each and 128 beside (api/http/connections.py)."""
ADVISED_FILES = 4096


def check_limits() -> Finding:
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    size_bytes, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if files != resource.RLIM_INFINITY and files < NEEDED_FILES:
        remedy = f"The API may need more: raise the hard limit to {ADVISED_FILES} (`ulimit -Hn`, `LimitNOFILE=`)"
        return Finding("limits", ok=False, text=f"{files} open files are allowed", remedy=remedy)
    if size_bytes != resource.RLIM_INFINITY:
        remedy = "Databases grow beyond any limit: lift it (`ulimit -f unlimited`, `LimitFSIZE=infinity`)"
        return Finding("limits", ok=False, text=f"no file may exceed {size_bytes} bytes", remedy=remedy)
    shown = "any number of" if files == resource.RLIM_INFINITY else str(files)
    return Finding("limits", ok=True, text=f"{shown} open files are allowed")
