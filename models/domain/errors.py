"""What every family's failures say to people, by code: why something could not be done, in half a sentence.

The code is what programs read, on the wire and in rows, and it never changes. A family lists those of its own in its
`models/domain/<family>/errors.py`; one that several families raise stands here.
"""

from collections.abc import Mapping
from typing import Final

from models.domain.words import Phrase

OF_PROVIDERS: Final[Mapping[str, Phrase]] = {
    "PROVIDER_UNAVAILABLE": Phrase("the provider does not answer", "le fournisseur ne répond pas"),
    "PROVIDER_THROTTLED": Phrase(
        "the provider takes no more calls at the moment", "le fournisseur n'accepte plus d'appels pour le moment"
    ),
    "PROVIDER_AUTH": Phrase("the provider refuses the credentials", "le fournisseur refuse les identifiants"),
    "PROVIDER_REJECTED": Phrase("the provider refuses the request", "le fournisseur refuse la demande"),
    "PROVIDER_ERROR": Phrase("the provider fails", "le fournisseur est en erreur"),
    "NO_CAPACITY": Phrase("the provider has no such machine left", "le fournisseur n'a plus de machine de ce type"),
    "NO_WORKER": Phrase("no worker serves the provider", "aucun worker ne sert le fournisseur"),
    "PARTIAL_CREATE": Phrase(
        "the provider failed while it made something, which may exist",
        "le fournisseur a échoué pendant une création, dont quelque chose existe peut-être",
    ),
    "PROVIDER_LIST_ENDLESS": Phrase(
        "the provider's list of machines has no end", "la liste des machines du fournisseur n'a pas de fin"
    ),
}

OF_REQUESTS: Final[Mapping[str, Phrase]] = {
    "BAD_CURSOR": Phrase("the cursor is none of this list", "le curseur n'est pas de cette liste"),
    "CONFLICT": Phrase("the state of the resource does not allow this", "l'état de la ressource ne le permet pas"),
    "CONNECTION_LIMIT": Phrase(
        "this address has as many connections open as it may",
        "cette adresse a autant de connexions qu'elle peut en ouvrir",
    ),
    "CROSS_ORIGIN": Phrase(
        "pages of another origin may not do this", "les pages d'une autre origine n'en ont pas le droit"
    ),
    "HEADERS_TOO_LARGE": Phrase(
        "the line and the headers of the request are too large",
        "la ligne et les en-têtes de la requête sont trop grands",
    ),
    "IDEMPOTENCY_IN_PROGRESS": Phrase(
        "the same request is being answered at this moment", "la même requête est en cours de traitement"
    ),
    "IDEMPOTENCY_MISMATCH": Phrase(
        "this idempotency key was used for another request", "cette clé d'idempotence a servi à une autre requête"
    ),
    "ILLEGAL_TRANSITION": Phrase(
        "the state of the resource does not allow this change", "l'état de la ressource ne permet pas ce changement"
    ),
    "INBOX_FULL": Phrase(
        "messages come faster than they are worked on", "les messages arrivent plus vite qu'ils ne sont traités"
    ),
    "INVALID_REQUEST": Phrase("the request is not valid", "la requête n'est pas valide"),
    "MALFORMED_REQUEST": Phrase("the request cannot be read", "la requête est illisible"),
    "METHOD_NOT_ALLOWED": Phrase("the path does not answer this method", "le chemin ne répond pas à cette méthode"),
    "NOT_FOUND": Phrase("there is no such thing", "cela n'existe pas"),
    "PAYLOAD_TOO_LARGE": Phrase("the body is too large", "le corps de la requête est trop grand"),
    "PERMISSION_DENIED": Phrase("you may not do this", "vous n'en avez pas le droit"),
    "RATE_LIMITED": Phrase("that is too many requests at the moment", "c'est trop de requêtes pour le moment"),
    "REQUEST_TIMEOUT": Phrase("the request did not arrive in time", "la requête n'est pas arrivée à temps"),
    "ROUTE_NOT_FOUND": Phrase("there is no such path", "ce chemin n'existe pas"),
    "STREAM_LIMIT": Phrase(
        "you follow as many streams as you may", "vous suivez autant de flux que vous en avez le droit"
    ),
    "UNAUTHENTICATED": Phrase("credentials are needed", "une authentification est nécessaire"),
    "UNKNOWN_FILTER": Phrase("the list has no such filter", "la liste n'a pas ce filtre"),
    "UNKNOWN_TOPIC": Phrase("there is no such topic of events", "ce sujet d'événements n'existe pas"),
    "UNSUPPORTED_MEDIA_TYPE": Phrase(
        "the body is of a kind that is not taken here", "le corps est d'un type qui n'est pas accepté ici"
    ),
}

OF_OPERATIONS: Final[Mapping[str, Phrase]] = {
    "APPROVAL_CLOSED": Phrase("this is decided already", "c'est déjà décidé"),
    "APPROVAL_EXPIRED": Phrase("the time to decide this is over", "le délai pour décider est écoulé"),
    "APPROVAL_NOT_FOUND": Phrase(
        "your organization has no such approval", "votre organisation n'a pas cette demande d'approbation"
    ),
    "APPROVAL_OF_ONES_OWN": Phrase(
        "what you asked for yourself has to be approved by another person",
        "ce que vous avez demandé doit être approuvé par une autre personne",
    ),
    "APPROVAL_REJECTED": Phrase("a person has rejected it", "une personne l'a refusé"),
    "APPROVAL_WITHDRAWN": Phrase("the question was withdrawn", "la question a été retirée"),
    "CANCELLED": Phrase("it was cancelled", "c'est annulé"),
    "OPERATION_CANCELLED": Phrase("it was given up before it was done", "c'est abandonné avant la fin"),
    "OPERATION_DECIDED": Phrase("it was decided a moment ago", "cela vient d'être décidé"),
    "OPERATION_FINISHED": Phrase("the operation has ended already", "l'opération est déjà terminée"),
    "OPERATION_NOT_AWAITING_APPROVAL": Phrase(
        "the operation waits for no approval", "l'opération n'attend aucune approbation"
    ),
    "OPERATION_NOT_CANCELLABLE": Phrase("the operation cannot be taken back", "l'opération ne peut pas être annulée"),
    "OPERATION_NOT_FOUND": Phrase(
        "your organization has no such operation", "votre organisation n'a pas cette opération"
    ),
    "SEVERAL_APPROVALS": Phrase(
        "the operation has asked for several approvals: name one",
        "l'opération a demandé plusieurs approbations : nommez-en une",
    ),
}

OF_PARTS: Final[Mapping[str, Phrase]] = {
    "ALARM": Phrase("something is not as it should be", "quelque chose ne va pas"),
    "CALLER_REFUSED": Phrase(
        "the workflow may not ask for this activity", "le workflow n'a pas droit à cette activité"
    ),
    "DATABASE_BUSY": Phrase(
        "the database is busy with what this needs", "la base de données est occupée par ce qu'il faudrait"
    ),
    "DATABASE_UNAVAILABLE": Phrase("the database does not answer", "la base de données ne répond pas"),
    "DEADLINE_EXCEEDED": Phrase("it did not end within its time limit", "le délai est dépassé"),
    "FAILURE_UNREADABLE": Phrase(
        "the workflow engine tells of a failure that cannot be read",
        "le moteur de workflows rapporte un échec illisible",
    ),
    "INTERNAL": Phrase("something that was not expected; the log says more", "un imprévu ; le journal en dit plus"),
    "MESSAGE_NOT_DELIVERED": Phrase(
        "messages do not reach their workflows", "des messages n'atteignent pas leurs workflows"
    ),
    "NO_SCHEDULES": Phrase(
        "the workflow engine takes no schedules", "le moteur de workflows n'accepte pas de planifications"
    ),
    "OWNER_UNKNOWN": Phrase(
        "this version does not know who is to do it", "cette version ne sait pas qui doit s'en charger"
    ),
    "PAYLOAD_CORRUPT": Phrase("a sealed payload cannot be opened", "un contenu scellé ne s'ouvre pas"),
    "PAYLOAD_KEY_UNKNOWN": Phrase(
        "a payload is sealed with a key that is not here", "un contenu est scellé avec une clé absente"
    ),
    "PAYLOAD_REFUSED": Phrase(
        "a payload is not sealed for the workflow that it came to",
        "un contenu n'est pas scellé pour le workflow qui l'a reçu",
    ),
    "SCHEDULE_INVALID": Phrase("the schedule is not valid", "la planification n'est pas valide"),
    "SCHEDULE_NOT_FOUND": Phrase("there is no such schedule", "cette planification n'existe pas"),
    "SCHEDULE_REFUSED": Phrase(
        "the workflow engine does not take this schedule", "le moteur de workflows refuse cette planification"
    ),
    "SCHEDULE_UNKNOWN": Phrase(
        "this version knows no such kind of schedule", "cette version ne connaît pas ce type de planification"
    ),
    "SEAL_BROKEN": Phrase("a sealed value cannot be opened", "une valeur scellée ne s'ouvre pas"),
    "SEAL_KEY_UNKNOWN": Phrase(
        "a value is sealed with a key that is not here", "une valeur est scellée avec une clé absente"
    ),
    "SERVICE_UNAVAILABLE": Phrase("a part of Quarterdeck is away", "une partie de Quarterdeck est indisponible"),
    "TEMPORAL_UNAVAILABLE": Phrase("the workflow engine does not answer", "le moteur de workflows ne répond pas"),
    "VALUE_NOT_SEALABLE": Phrase("this is no value that can be sealed", "cette valeur ne peut pas être scellée"),
}

OF_OTHERS: Final[Mapping[str, Phrase]] = {
    "BLOBS_UNAVAILABLE": Phrase("the store of blobs does not answer", "le stockage des blobs ne répond pas"),
    "BLOB_DAMAGED": Phrase("the blob is not what was stored", "le blob n'est plus ce qui a été enregistré"),
    "BLOB_IN_USE": Phrase("something needs this blob", "ce blob est utilisé"),
    "BLOB_LOST": Phrase("the store does not have the blob any more", "le stockage n'a plus ce blob"),
    "BLOB_NOT_FOUND": Phrase("your organization has no such blob", "votre organisation n'a pas ce blob"),
    "BLOB_TOO_LARGE": Phrase("this is larger than a blob may be", "c'est plus grand qu'un blob ne peut l'être"),
    "BUDGET_EXCEEDED": Phrase("the budget does not allow it", "le budget ne le permet pas"),
    "EGRESS_REFUSED": Phrase(
        "this address may not be called from here", "cette adresse ne peut pas être appelée d'ici"
    ),
    "TARGET_MISBEHAVED": Phrase(
        "the address answered with what is not accepted", "l'adresse a donné une réponse inacceptable"
    ),
    "TARGET_UNREACHABLE": Phrase("the address cannot be reached", "l'adresse est injoignable"),
}

ERRORS: Final[Mapping[str, Phrase]] = {**OF_PROVIDERS, **OF_REQUESTS, **OF_OPERATIONS, **OF_PARTS, **OF_OTHERS}
