"""What every family's objects say."""

from typing import Final

from models.domain.holds import HoldCode
from models.domain.waits import SpineWait
from models.domain.words import Phrase, Wait, Who, Words

FAMILY: Final = Words(
    waits={
        SpineWait.OWNER: Wait(Phrase("its owner to begin", "que son propriétaire s'en occupe"), Who.OWNER),
        SpineWait.DECISION: Wait(
            Phrase("a person to decide{question}", "qu'une personne décide{question}"), Who.PERSON
        ),
        SpineWait.OTHER: Wait(Phrase("{text}", "{text}"), Who.OWNER),
    },
    holds={
        HoldCode.PROVIDER_UNAVAILABLE: Phrase("the provider does not answer", "le fournisseur ne répond pas"),
        HoldCode.PROVIDER_THROTTLED: Phrase(
            "the provider takes no more calls at the moment", "le fournisseur n'accepte plus d'appels pour le moment"
        ),
        HoldCode.PROVIDER_AUTH: Phrase(
            "the provider refuses the credentials", "le fournisseur refuse les identifiants"
        ),
        HoldCode.PROVIDER_REJECTED: Phrase("the provider refuses the request", "le fournisseur refuse la demande"),
        HoldCode.PROVIDER_ERROR: Phrase("the provider fails", "le fournisseur est en erreur"),
        HoldCode.NO_CAPACITY: Phrase(
            "the provider has no such machine left", "le fournisseur n'a plus de machine de ce type"
        ),
        HoldCode.NO_WORKER: Phrase("no worker serves the provider", "aucun worker ne sert le fournisseur"),
        HoldCode.DELETION_PENDING: Phrase(
            "the provider has not deleted everything yet", "le fournisseur n'a pas encore tout supprimé"
        ),
        HoldCode.SERVICE_UNAVAILABLE: Phrase(
            "a part of Quarterdeck is away", "une partie de Quarterdeck est indisponible"
        ),
        HoldCode.INTERNAL: Phrase(
            "something that was not expected; the worker's log says more",
            "un imprévu ; le journal du worker en dit plus",
        ),
    },
    texts_of_before={"its owner to begin": SpineWait.OWNER, "a person to decide": SpineWait.DECISION},
)
