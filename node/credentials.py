"""What the agent must remember across restarts to stay the same agent."""

import secrets
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from uuid import uuid4

from node.private_files import read_json, write_json

CREDENTIALS_FILE = "credentials.json"


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """`nonce` is stored before the first registration is tried: repeating it with the same nonce gives the same answer."""

    generation: int
    worker_id: str
    nonce: str = field(repr=False)
    worker_token: str | None = field(default=None, repr=False)
    serving_key: str | None = field(default=None, repr=False)


class CredentialStore:
    def __init__(self, home: Path) -> None:
        self._path = home / CREDENTIALS_FILE

    def load(self, generation: int) -> Credentials:
        """The credentials of this generation; fresh ones, stored at once, where there are none or only older ones."""
        try:
            stored = Credentials(**(read_json(self._path) or {}))  # type: ignore[arg-type]
        except (TypeError, ValueError):  # absent, of another version, or damaged: register anew
            stored = None
        if stored is not None and stored.generation == generation:
            return stored
        fresh = Credentials(generation=generation, worker_id=f"node-{uuid4()}", nonce=secrets.token_urlsafe(32))
        self._save(fresh)
        return fresh

    def keep(self, credentials: Credentials, *, worker_token: str, serving_key: str) -> Credentials:
        kept = replace(credentials, worker_token=worker_token, serving_key=serving_key)
        if kept != credentials:
            self._save(kept)
        return kept

    def _save(self, credentials: Credentials) -> None:
        write_json(self._path, asdict(credentials))
