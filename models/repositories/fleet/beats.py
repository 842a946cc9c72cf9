"""What the fleet says and asks each time that an API process speaks with the database by itself."""

from typing import Final

from sqlalchemy import func

from models.repositories.fleet.liveness import LONGEST_INTAKE_GAP_S
from models.repositories.pulse import Calls

UNOWNED_MACHINES: Final = "unowned_machines"
"""At providers, with our tag and nobody who looks after them."""

BEAT: Final[Calls] = {
    "heartbeat_intake": func.note_heartbeat_intake(LONGEST_INTAKE_GAP_S),  # heartbeats are taken now
    UNOWNED_MACHINES: func.count_unowned_machines(),
}
