"""What every family's resources have in common at the edge: operations, events, the log of actions, the codec of the web UI."""

from pathlib import Path
from typing import Final

from api.family import ApiFamily, Turn
from api.routers import action_logs, approvals, events, operation_commands, operations, payload_codec

SPINE: Final = ApiFamily(
    name="spine",
    routers={
        Turn.PEOPLE: (operations.router, operation_commands.router, approvals.router, events.router),
        Turn.SELDOM: (action_logs.router, payload_codec.router),
    },
    routes_added=Path(__file__).with_name("spine_routes.csv"),
)
"""`system` is included by the application itself: it is asked by what knows nothing of filters."""
