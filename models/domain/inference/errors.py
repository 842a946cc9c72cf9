"""What requests to models fail with. On `/v1` the codes are in small letters, as OpenAI's clients know them."""

from collections.abc import Mapping
from typing import Final

from models.domain.words import Phrase

ERRORS: Final[Mapping[str, Phrase]] = {
    "CATALOG_STALE": Phrase(
        "which models there are is not known at the moment", "les modèles disponibles ne sont pas connus pour le moment"
    ),
    "INVALID_API_KEY": Phrase(
        "the API key is unknown, expired or revoked", "la clé d'API est inconnue, expirée ou révoquée"
    ),
    "INVALID_JSON": Phrase("the body is not valid JSON", "le corps n'est pas du JSON valide"),
    "INVALID_PARAMETER": Phrase(
        "a parameter is not of the kind that it should be", "un paramètre n'est pas du type attendu"
    ),
    "METERING_UNAVAILABLE": Phrase(
        "requests to models cannot be recorded on the disk, and are refused until they can",
        "les requêtes aux modèles ne peuvent pas être enregistrées sur le disque, et sont refusées jusque-là",
    ),
    "NOT_SUPPORTED": Phrase("the model cannot do this", "le modèle ne sait pas le faire"),
    "NO_READY_WORKER": Phrase(
        "no instance of your organization is ready to serve this model",
        "aucune instance de votre organisation n'est prête à servir ce modèle",
    ),
    "ROUTES_STALE": Phrase(
        "where requests can go is not known at the moment",
        "la destination des requêtes n'est pas connue pour le moment",
    ),
    "UPSTREAM_ERROR": Phrase(
        "the model server failed on this request", "le serveur du modèle a échoué sur cette requête"
    ),
    "UPSTREAM_READ_FAILED": Phrase(
        "the model server's answer broke off", "la réponse du serveur du modèle s'est interrompue"
    ),
    "UPSTREAM_REFUSED": Phrase(
        "the model server refused this gateway", "le serveur du modèle a refusé cette passerelle"
    ),
    "UPSTREAM_REFUSED_REQUEST": Phrase(
        "the model server refused the request", "le serveur du modèle a refusé la requête"
    ),
    "UPSTREAM_TIMEOUT": Phrase(
        "the model server did not answer in time", "le serveur du modèle n'a pas répondu à temps"
    ),
    "UPSTREAM_UNAVAILABLE": Phrase(
        "the model server takes no requests at the moment",
        "le serveur du modèle n'accepte pas de requêtes pour le moment",
    ),
    "UPSTREAM_UNREACHABLE": Phrase("the model server could not be reached", "le serveur du modèle est injoignable"),
}
