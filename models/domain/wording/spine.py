"""What every family's objects say."""

from typing import Final

from models.domain.errors import ERRORS
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
        **{code: ERRORS[code] for code in HoldCode if code in ERRORS},
        HoldCode.DELETION_PENDING: Phrase(
            "the provider has not deleted everything yet", "le fournisseur n'a pas encore tout supprimé"
        ),
        HoldCode.INTERNAL: Phrase(
            "something that was not expected; the worker's log says more",
            "un imprévu ; le journal du worker en dit plus",
        ),
    },
    errors=ERRORS,
    texts_of_before={"its owner to begin": SpineWait.OWNER, "a person to decide": SpineWait.DECISION},
)
