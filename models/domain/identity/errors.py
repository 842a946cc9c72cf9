"""What is said to people who sign in, and of keys and organizations."""

from collections.abc import Mapping
from typing import Final

from models.domain.words import Phrase

ERRORS: Final[Mapping[str, Phrase]] = {
    "ADMIN_REQUIRED": Phrase("only a superadmin may do this", "seul un superadministrateur peut le faire"),
    "API_KEY_CHAIN_TOO_LONG": Phrase(
        "keys that were made with keys go no deeper", "les clés créées avec des clés ne vont pas plus loin"
    ),
    "API_KEY_NOT_FOUND": Phrase("you have no such API key", "vous n'avez pas cette clé d'API"),
    "IDENTITIES_STALE": Phrase(
        "who may do what is not known at the moment", "qui peut faire quoi n'est pas connu pour le moment"
    ),
    "INVALID_CREDENTIALS": Phrase("the login or the password is wrong", "l'identifiant ou le mot de passe est faux"),
    "INVALID_CURRENT_PASSWORD": Phrase("the current password is wrong", "le mot de passe actuel est faux"),
    "INVALID_TOKEN": Phrase(
        "these credentials are unknown, expired or revoked",
        "ces identifiants sont inconnus, expirés ou révoqués",
    ),
    "LOGIN_LIMIT": Phrase("that is too many attempts to sign in", "c'est trop de tentatives de connexion"),
    "LOGIN_REQUIRED": Phrase("sign in, or send an API key", "connectez-vous, ou envoyez une clé d'API"),
    "ORGANIZATION_IN_USE": Phrase(
        "the organization has what has to be removed first", "l'organisation a encore ce qui doit être supprimé d'abord"
    ),
    "PASSWORD_CHANGED": Phrase(
        "the password was changed a moment ago, elsewhere", "le mot de passe vient d'être changé ailleurs"
    ),
    "SESSION_INVALID": Phrase("this account no longer exists", "ce compte n'existe plus"),
    "SESSION_REQUIRED": Phrase(
        "an API key cannot do this: sign in", "une clé d'API ne peut pas le faire : connectez-vous"
    ),
    "SIGN_IN_BUSY": Phrase("too many people are signing in at once", "trop de personnes se connectent en même temps"),
}
