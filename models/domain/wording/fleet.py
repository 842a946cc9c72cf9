"""What instances say."""

from typing import Final

from models.domain.fleet.errors import ERRORS
from models.domain.fleet.waits import FleetWait
from models.domain.words import Phrase, Wait, Who, Words

W = FleetWait

FAMILY: Final = Words(
    waits={
        W.MACHINE_CREATED: Wait(
            Phrase("the provider to create the machine", "que le fournisseur crée la machine"), Who.PROVIDER
        ),
        W.MACHINE_RUNS: Wait(Phrase("the machine to run", "que la machine démarre"), Who.PROVIDER),
        W.AGENT_REGISTERS: Wait(Phrase("the node agent to register", "que l'agent s'enregistre"), Who.AGENT),
        W.MODEL_SERVED: Wait(Phrase("the node agent to serve its model", "que l'agent serve son modèle"), Who.AGENT),
        W.AGENT: Wait(Phrase("the agent", "l'agent"), Who.AGENT),
        W.HEARTBEAT: Wait(Phrase("a heartbeat", "un signe de vie de l'agent"), Who.AGENT),
        W.REQUESTS_IN_FLIGHT: Wait(Phrase("requests in flight", "la fin des requêtes en cours"), Who.CALLERS),
        W.AGENT_RESTARTED: Wait(
            Phrase("the provider to restart the agent", "que le fournisseur redémarre l'agent"), Who.PROVIDER
        ),
        W.MACHINE_REINSTALLED: Wait(
            Phrase("the provider to reinstall the machine", "que le fournisseur réinstalle la machine"), Who.PROVIDER
        ),
        W.MACHINE_DELETED: Wait(
            Phrase("the provider to delete the machine", "que le fournisseur supprime la machine"), Who.PROVIDER
        ),
        W.PROVIDER_ANSWERS: Wait(
            Phrase("the provider to answer ({error_code})", "que le fournisseur réponde ({error_code})"), Who.PROVIDER
        ),
        W.NOTHING_LEFT: Wait(Phrase("proof that nothing is left", "la preuve qu'il ne reste rien"), Who.PROVIDER),
        W.MACHINE_GONE: Wait(
            Phrase(
                "the machine to go, which still exists at the provider{reason}",
                "que la machine disparaisse, elle existe encore chez le fournisseur{reason}",
            ),
            Who.PROVIDER,
        ),
        W.VOLUMES_GONE: Wait(
            Phrase(
                "volumes to go, of which {volumes} still exist at the provider{reason}",
                "que les volumes disparaissent, {volumes} existent encore chez le fournisseur{reason}",
            ),
            Who.PROVIDER,
        ),
        W.MACHINE_UNKNOWN: Wait(
            Phrase(
                "the provider to say whether a machine exists{reason}",
                "que le fournisseur dise si une machine existe{reason}",
            ),
            Who.PROVIDER,
        ),
        W.MACHINE_LATE: Wait(
            Phrase(
                "proof of nothing left: a machine may still show up",
                "la preuve qu'il ne reste rien : une machine peut encore apparaître",
            ),
            Who.PROVIDER,
        ),
    },
    errors=ERRORS,
    texts_of_before={
        "the provider to create the machine": W.MACHINE_CREATED,
        "the machine to run": W.MACHINE_RUNS,
        "the node agent to register": W.AGENT_REGISTERS,
        "the node agent to serve its model": W.MODEL_SERVED,
        "the agent": W.AGENT,
        "a heartbeat": W.HEARTBEAT,
        "requests in flight": W.REQUESTS_IN_FLIGHT,
        "the provider to restart the agent": W.AGENT_RESTARTED,
        "the provider to reinstall the machine": W.MACHINE_REINSTALLED,
        "the provider to delete the machine": W.MACHINE_DELETED,
        "proof that nothing is left": W.NOTHING_LEFT,
    },
)
