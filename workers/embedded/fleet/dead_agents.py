"""Served instances of this machine whose agent does not run, as after a reboot: for the doctor, before anything is started."""

from pathlib import Path

from workers.embedded.finding import Finding
from workers.embedded.fleet.instances import LOCK_FILE, is_held

BEGUN, OVER = "boot.json", ("deleting.json", "ended.json")
"""Files of a machine (docs/node-agent.md): it has been told what to serve; it is not to serve any more."""


def check_served_instances(instances_dir: Path) -> Finding:
    """Not one of them stops `up`, which starts them again."""
    try:
        folders = sorted(instances_dir.iterdir()) if instances_dir.is_dir() else []
        served = [folder for folder in folders if _is_to_serve(folder)]
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return Finding("served instances", ok=False, text=f"{instances_dir} cannot be looked at ({reason})")
    dead = [folder.name for folder in served if not is_held(folder / LOCK_FILE)]
    if not dead:
        return Finding("served instances", ok=True, text=f"{len(served)} on this machine")
    return Finding(
        "served instances",
        ok=False,
        text=f"{len(dead)} of {len(served)} do not run: {', '.join(dead)}",
        remedy="`quarterdeck up` starts them again; while it runs, that takes some seconds",
    )


def _is_to_serve(folder: Path) -> bool:
    return (folder / BEGUN).exists() and not any((folder / name).exists() for name in OVER)
