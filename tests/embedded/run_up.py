"""`up` with small programs in place of ours: `run_up.py WORKER_KIND [OPTION...] [MODULE.CONSTANT=VALUE...]`.

`run_up.py ours` has our own programs. With `--initialised=FOLDER` the database's files are a copy (`initialised.py`).
"""

import importlib
import re
import sys
from functools import partial
from pathlib import Path

from models.settings import load_settings
from tests.embedded.initialised import copy_from
from tests.embedded.parts import PARTS
from workers.embedded import stack, supervisor
from workers.embedded import up as running
from workers.embedded.processes import ProcessSpec
from workers.embedded.stack import Programs, Stack
from workers.embedded.supervisor import Part
from workers.embedded.up import up
from workers.family_parts import joined

SILENT = ("/bin/sh", "-c", "echo first word; echo still looking for what is not there; exec sleep 600")
"""Neither ends nor becomes ready."""


def program(kind: str) -> tuple[str, ...]:
    if kind == "silent":
        return SILENT
    return (sys.executable, str(Path(__file__).with_name("stand_in.py")), kind)


class Impatient(Stack):
    """Waits for the worker four seconds, and for what comes before it as long as ever."""

    def worker(self) -> Part:
        vars(supervisor)["GIVE_UP_AFTER_S"] = 4.0
        return super().worker()


if __name__ == "__main__":
    if "--patient" in sys.argv:  # with what does not end: for an hour
        vars(stack)["ProcessSpec"] = partial(ProcessSpec, stop_timeout_s=3600.0)
    if "--impatient" in sys.argv:
        vars(running)["Stack"] = Impatient
    if "--parts" in sys.argv:
        vars(stack)["FAMILY_PARTS"] = joined([PARTS])
    for module, constant, value in re.findall(r"(\w+)\.(\w+)=(\S+)", " ".join(sys.argv[2:])):
        vars(importlib.import_module(f"workers.embedded.{module}"))[constant] = float(value)
    for folder in re.findall(r"--initialised=(\S+)", " ".join(sys.argv[2:])):
        copy_from(Path(folder))
    migrate = "silent" if "--migrate=silent" in sys.argv else "migrate"
    programs = Programs()
    if sys.argv[1] != "ours":
        programs = Programs(program(migrate), program("bootstrap"), program("api"), program(sys.argv[1]))
    sys.exit(up(load_settings(), programs))
