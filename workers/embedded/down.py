"""`quarterdeck down`: stop the stack of this home from another terminal."""

import json
import signal

from models.settings import Settings
from models.settings.derived import instances_dir
from workers.embedded.fleet.instances import end_instances
from workers.embedded.home import Home, holds_lock, is_locked, locked, read_record
from workers.embedded.leftovers import end_leftovers, identity_from
from workers.embedded.processes import end

STOP_TIMEOUT_S = 15.0
"""`up` stops within 10 s; after this it is killed, and what it started with it."""


def down(settings: Settings, *, instances: bool, as_json: bool = False) -> int:
    """Returns 0 when nothing of this home runs any more.

    Raises StartError when `up` is just starting or stopping, or the home is another user's.
    """
    home = Home(settings.home)
    supervisor = identity_from((read_record(home) or {}).get("supervisor")) if is_locked(home) else None
    if supervisor is not None and not holds_lock(home, supervisor.pid):
        supervisor = None  # the record came with a copy: that of the original
    stopped = supervisor is not None and end(supervisor, signal.SIGTERM, STOP_TIMEOUT_S)
    if home.path.is_dir():
        with locked(home):
            stopped = bool(end_leftovers(home)) or stopped
            home.run_record.unlink(missing_ok=True)
    if not as_json:
        print("Stopped." if stopped else f"Quarterdeck does not run in {home.path}.")  # noqa: T201
    ended = end_instances(instances_dir(settings)) if instances else 0
    if as_json:
        print(json.dumps({"home": str(home.path), "stopped": stopped, "served_instances_ended": ended}))  # noqa: T201
    elif instances:
        print(f"Served instances ended: {ended}.")  # noqa: T201
    return 0
