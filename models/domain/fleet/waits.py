"""What an instance may wait for."""

from enum import StrEnum


class FleetWait(StrEnum):
    MACHINE_CREATED = "MACHINE_CREATED"
    MACHINE_RUNS = "MACHINE_RUNS"
    AGENT_REGISTERS = "AGENT_REGISTERS"
    MODEL_SERVED = "MODEL_SERVED"
    AGENT = "AGENT"
    HEARTBEAT = "HEARTBEAT"
    REQUESTS_IN_FLIGHT = "REQUESTS_IN_FLIGHT"
    AGENT_RESTARTED = "AGENT_RESTARTED"
    MACHINE_REINSTALLED = "MACHINE_REINSTALLED"
    MACHINE_DELETED = "MACHINE_DELETED"
    PROVIDER_ANSWERS = "PROVIDER_ANSWERS"  # `error_code` of its last answer
    NOTHING_LEFT = "NOTHING_LEFT"
    MACHINE_GONE = "MACHINE_GONE"  # it was seen; `error_code` where the provider said why
    VOLUMES_GONE = "VOLUMES_GONE"  # `volumes` were seen; `error_code` as above
    MACHINE_UNKNOWN = "MACHINE_UNKNOWN"  # `error_code`: the provider does not say whether there is one
    MACHINE_LATE = "MACHINE_LATE"  # none was seen; a create that was sent may still make one
