"""`up` with small programs in place of ours: `run_up.py WORKER_KIND`."""

import sys
from functools import partial
from pathlib import Path

from models.settings import load_settings
from workers.embedded import stack
from workers.embedded.processes import ProcessSpec
from workers.embedded.stack import Programs
from workers.embedded.up import up


def program(kind: str) -> tuple[str, ...]:
    return (sys.executable, str(Path(__file__).with_name("stand_in.py")), kind)


if __name__ == "__main__":
    if "--patient" in sys.argv:  # with what does not end: for an hour
        vars(stack)["ProcessSpec"] = partial(ProcessSpec, stop_timeout_s=3600.0)
    programs = Programs(program("migrate"), program("bootstrap"), program("api"), program(sys.argv[1]))
    sys.exit(up(load_settings(), programs, lambda line: print(line, flush=True)))
