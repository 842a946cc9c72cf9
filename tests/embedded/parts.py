"""Parts of a family, for `run_up.py --parts`: small programs, wanted by a setting or by rows of the table `wanted`."""

import os
import sys
from pathlib import Path
from typing import Final

from models.settings.derived import DatabaseRole
from workers.family_parts import FamilyPart, FamilyParts, WhenSet, WhileRows

BELLS, DOOR_PORT = "Bells", "DOOR_PORT"
"""The name of the organization that wants a bell, and the variable that says where the door is."""

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in.py")))


def while_row(name: str) -> WhileRows:
    return WhileRows(f"SELECT EXISTS (SELECT FROM wanted WHERE part = '{name}')")  # noqa: S608  (a name from here)


PARTS: Final = FamilyParts(
    (
        FamilyPart(
            name="bell",
            when=WhenSet(lambda settings: settings.organization_name == BELLS),
            command=(*STAND_IN, "worker"),
            logs_in_as=DatabaseRole.API,
        ),
        FamilyPart(name="lamp", when=while_row("lamp"), command=(*STAND_IN, "fickle"), logs_in_as=DatabaseRole.WORKER),
        FamilyPart(
            name="door",
            when=while_row("door"),
            command=(sys.executable, "-m", "http.server", os.environ.get(DOOR_PORT, "0"), "--bind", "127.0.0.1"),
            port=lambda _settings: int(os.environ[DOOR_PORT]),
        ),
        FamilyPart(
            name="mute", when=while_row("mute"), command=("/bin/sh", "-c", "echo a word; while sleep 600; do :; done")
        ),
    )
)
