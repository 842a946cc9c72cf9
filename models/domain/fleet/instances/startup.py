"""How far a node agent's start has come, from its last word (contract decision 14)."""

from models.domain.fleet.instances.progress import Step
from models.domain.fleet.instances.state import AgentPhase, AgentStatus, InstanceStatus

S = InstanceStatus

_REGISTERED = (Step.WORKER_REGISTERED,)
_INSTALLED = (*_REGISTERED, Step.WORKER_INSTALL)
_LOADED = (*_INSTALLED, Step.WORKER_VLLM_HTTP_OK, Step.WORKER_MODEL_LOADED)


def stage(phase: AgentPhase | None, worker_status: AgentStatus | None) -> tuple[InstanceStatus, tuple[Step, ...]]:
    """The status to show and the steps that are done, for an agent that has registered in this boot.

    `installing` begins with the agent's first report of a phase. Ready is its own word and the phase together.
    """
    if worker_status is AgentStatus.READY and phase is AgentPhase.SERVING:
        return S.READY, (*_LOADED, Step.HEALTH_CHECK)
    match phase:
        case None:
            return S.BOOTING, _REGISTERED
        case AgentPhase.PREPARING:
            return S.INSTALLING, _REGISTERED
        case AgentPhase.LOADING_MODEL:
            return S.STARTING, _INSTALLED
        case AgentPhase.WARMING_UP | AgentPhase.SERVING:
            return S.STARTING, _LOADED
