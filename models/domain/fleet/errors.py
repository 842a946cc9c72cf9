"""What failures of instances, and of orders for them, say to people."""

from collections.abc import Mapping
from typing import Final

from models.domain.words import Phrase

OF_ORDERS: Final[Mapping[str, Phrase]] = {
    "DB_ERROR": Phrase("the order was not written", "la commande n'a pas été enregistrée"),
    "INCOMPATIBLE_MODEL_INSTANCE": Phrase(
        "the model does not fit on this type", "le modèle ne tient pas sur ce type d'instance"
    ),
    "INVALID_ID": Phrase("this is neither an id nor a code", "ce n'est ni un identifiant ni un code"),
    "INVALID_INSTANCE_TYPE": Phrase("this type cannot be ordered there", "ce type ne peut pas y être commandé"),
    "INVALID_MODEL": Phrase("there is no such active model", "ce modèle n'existe pas ou n'est pas actif"),
    "INVALID_PROVIDER": Phrase("the provider is not active", "le fournisseur n'est pas actif"),
    "INVALID_ZONE": Phrase("there is no such active zone", "cette zone n'existe pas ou n'est pas active"),
    "MISSING_MODEL": Phrase("no model is named", "aucun modèle n'est nommé"),
    "NO_FITTING_OFFER": Phrase("no active offer can serve this model", "aucune offre active ne peut servir ce modèle"),
    "UNKNOWN_PROVIDER": Phrase("there is no such provider", "ce fournisseur n'existe pas"),
    "UNPRICED_INSTANCE_TYPE": Phrase(
        "the type has no price, and cannot be billed", "le type n'a pas de prix et ne peut pas être facturé"
    ),
}

OF_CATALOGUE: Final[Mapping[str, Phrase]] = {
    "INSTANCE_TYPE_NOT_FOUND": Phrase("there is no such instance type", "ce type d'instance n'existe pas"),
    "MODEL_NOT_FOUND": Phrase("there is no such model", "ce modèle n'existe pas"),
    "ZONE_NOT_FOUND": Phrase("there is no such zone", "cette zone n'existe pas"),
}

OF_COMMANDS: Final[Mapping[str, Phrase]] = {
    "INSTANCE_HAS_NO_MACHINE": Phrase(
        "the instance has no machine with an address yet", "l'instance n'a pas encore de machine avec une adresse"
    ),
    "INSTANCE_NOT_FOUND": Phrase("there is no such instance", "cette instance n'existe pas"),
    "INSTANCE_NOT_TERMINATED": Phrase("the instance is not terminated", "l'instance n'est pas terminée"),
    "INSTANCE_TERMINATED": Phrase("the instance is terminated", "l'instance est terminée"),
    "INSTANCE_TERMINATING": Phrase("the instance is being terminated", "l'instance est en cours de suppression"),
    "NO_MACHINE": Phrase("the instance has no machine", "l'instance n'a pas de machine"),
    "REINSTALL_NOT_SUPPORTED": Phrase(
        "this provider cannot reinstall a machine", "ce fournisseur ne sait pas réinstaller une machine"
    ),
}

OF_MACHINES: Final[Mapping[str, Phrase]] = {
    "MACHINE_WITHOUT_OWNER": Phrase(
        "machines at a provider belong to nobody", "des machines chez un fournisseur n'appartiennent à personne"
    ),
    "MISSING_PROVIDER_CREDENTIALS": Phrase(
        "the provider refuses the credentials, or there are none",
        "le fournisseur refuse les identifiants, ou il n'y en a pas",
    ),
    "PROVIDER_CREATE_FAILED": Phrase(
        "the provider did not create the machine", "le fournisseur n'a pas créé la machine"
    ),
    "PROVIDER_DELETED": Phrase("the provider took the machine away", "le fournisseur a retiré la machine"),
    "PROVIDER_OUT_OF_STOCK": Phrase(
        "the provider has no such machine left", "le fournisseur n'a plus de machine de ce type"
    ),
    "PROVIDER_REINSTALL_FAILED": Phrase(
        "the provider did not reinstall the machine", "le fournisseur n'a pas réinstallé la machine"
    ),
    "PROVIDER_START_FAILED": Phrase("the machine did not start", "la machine n'a pas démarré"),
    "PROVIDER_START_TIMEOUT": Phrase(
        "the machine did not run within the startup time", "la machine n'a pas démarré dans le délai"
    ),
    "STEP_IS_OVER": Phrase("the instance does not wait for this any more", "l'instance n'attend plus cela"),
    "TERMINATION_PENDING": Phrase(
        "the machine is not proven gone yet", "la disparition de la machine n'est pas encore prouvée"
    ),
    "VOLUMES_DELETE_PENDING": Phrase(
        "volumes still exist at the provider", "des volumes existent encore chez le fournisseur"
    ),
}

OF_AGENTS: Final[Mapping[str, Phrase]] = {
    "BOOT_LIMIT": Phrase("the agent starts too often", "l'agent démarre trop souvent"),
    "HEAL_EXHAUSTED": Phrase(
        "the agent stays silent, and restarting it did not help",
        "l'agent reste muet, et le redémarrer n'y a rien changé",
    ),
    "HEALTH_CHECK_FAILED": Phrase(
        "the machine stopped before its agent served the model",
        "la machine s'est arrêtée avant que son agent serve le modèle",
    ),
    "MODEL_MISMATCH": Phrase(
        "the agent serves another model than the instance was given",
        "l'agent sert un autre modèle que celui de l'instance",
    ),
    "STARTUP_TIMEOUT": Phrase(
        "the model was not served within the startup time", "le modèle n'a pas été servi dans le délai de démarrage"
    ),
    "TOKEN_ALREADY_EXISTS_OR_RACE": Phrase(
        "another registration with this token is under way", "un autre enregistrement avec ce jeton est en cours"
    ),
    "TOKEN_CONSUMED": Phrase("another agent has used this token", "un autre agent a utilisé ce jeton"),
    "TOKEN_EXPIRED": Phrase("this token has expired", "ce jeton a expiré"),
    "TOKEN_REVOKED": Phrase("this token is revoked", "ce jeton est révoqué"),
}

ERRORS: Final[Mapping[str, Phrase]] = {**OF_ORDERS, **OF_CATALOGUE, **OF_COMMANDS, **OF_MACHINES, **OF_AGENTS}
