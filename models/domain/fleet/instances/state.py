"""The states of an instance and the moves between them (contract/fleet.md 3.1, 3.2)."""

from enum import StrEnum

from models.base.errors import IllegalTransition


class InstanceStatus(StrEnum):
    PROVISIONING = "provisioning"
    BOOTING = "booting"
    INSTALLING = "installing"
    STARTING = "starting"
    READY = "ready"
    UNAVAILABLE = "unavailable"
    DRAINING = "draining"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    ARCHIVED = "archived"
    PROVISIONING_FAILED = "provisioning_failed"
    STARTUP_FAILED = "startup_failed"
    FAILED = "failed"


S = InstanceStatus

NEXT: dict[InstanceStatus, frozenset[InstanceStatus]] = {
    S.PROVISIONING: frozenset({S.BOOTING, S.PROVISIONING_FAILED, S.FAILED, S.TERMINATING, S.TERMINATED}),
    S.BOOTING: frozenset(
        {
            S.BOOTING,
            S.INSTALLING,
            S.STARTING,
            S.READY,
            S.UNAVAILABLE,
            S.STARTUP_FAILED,
            S.FAILED,
            S.TERMINATING,
        }
    ),
    S.INSTALLING: frozenset({S.BOOTING, S.STARTING, S.READY, S.UNAVAILABLE, S.STARTUP_FAILED, S.FAILED, S.TERMINATING}),
    S.STARTING: frozenset({S.BOOTING, S.INSTALLING, S.READY, S.UNAVAILABLE, S.STARTUP_FAILED, S.FAILED, S.TERMINATING}),
    S.READY: frozenset({S.BOOTING, S.UNAVAILABLE, S.DRAINING, S.FAILED, S.TERMINATING, S.TERMINATED}),
    S.UNAVAILABLE: frozenset(
        {S.BOOTING, S.INSTALLING, S.STARTING, S.READY, S.FAILED, S.DRAINING, S.TERMINATING, S.TERMINATED}
    ),
    S.DRAINING: frozenset({S.TERMINATING, S.TERMINATED}),
    S.TERMINATING: frozenset({S.TERMINATED}),
    S.TERMINATED: frozenset({S.ARCHIVED}),
    S.ARCHIVED: frozenset(),
    S.PROVISIONING_FAILED: frozenset({S.BOOTING, S.TERMINATING, S.TERMINATED}),
    S.STARTUP_FAILED: frozenset({S.BOOTING, S.READY, S.FAILED, S.TERMINATING, S.TERMINATED}),
    S.FAILED: frozenset({S.BOOTING, S.TERMINATING, S.TERMINATED}),
}

FINAL = frozenset({S.TERMINATED, S.ARCHIVED})
"""Nothing of the instance exists any more: the only states in which its owner may end."""

STARTING_UP = frozenset({S.BOOTING, S.INSTALLING, S.STARTING})


def advance(current: InstanceStatus, to: InstanceStatus) -> InstanceStatus:
    """`to`, if the table allows the move. Raises IllegalTransition."""
    if to not in NEXT[current]:
        raise IllegalTransition(
            f"an instance that is {current} cannot become {to}", details={"from": current.value, "to": to.value}
        )
    return to


class DesiredStatus(StrEnum):
    """What the last accepted command wants. The owner works towards it; readers see it at once (`visible_status`)."""

    READY = "ready"
    TERMINATED = "terminated"


class OnUnavailable(StrEnum):
    """What the owner does with a ready instance whose agent fell silent (contract decision 13)."""

    WAIT = "wait"
    RESTART_AGENT = "restart_agent"
    REINSTALL = "reinstall"
    TERMINATE = "terminate"


class AgentStatus(StrEnum):
    """What a node agent says of itself (contract/fleet.md 5.1)."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class AgentPhase(StrEnum):
    PREPARING = "preparing"
    LOADING_MODEL = "loading_model"
    WARMING_UP = "warming_up"
    SERVING = "serving"


class Edge(StrEnum):
    """A change of a node agent that its instance's owner must hear of; repeats and figures are not edges."""

    REGISTERED = "registered"
    PHASE = "phase"
    READY = "ready"
    DRAINING = "draining"
    CAME_BACK = "came_back"
    REBOOTED = "rebooted"
    LOST = "lost"
    UNHEARD = "unheard"  # not a word since we listen again: its machine is to be looked at, at once
