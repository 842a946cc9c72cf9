"""The three secrets between an instance and the control plane, each computed where it is needed and stored only as a hash.

    bootstrap token   in the machine's boot data; good for one registration, together with a nonce of the node agent's making
    agent token       the answer to that registration; names the agent in every later call
    serving key       what the instance's model server demands of its callers

All follow from the installation key, the instance and its generation, so that an activity run again after a crash hands out
byte-identical boot data, and a reinstall (the next generation) makes every earlier secret worthless.
"""

import re
from uuid import UUID

from models.domain.keys import Purpose, derive_text

BOOTSTRAP_PREFIX = "bt_"
AGENT_PREFIX = "wk_"
SERVING_PREFIX = "sv_"

_MACHINE_TOKEN = re.compile(rf"(?:{BOOTSTRAP_PREFIX}|{AGENT_PREFIX})[A-Za-z0-9_-]{{1,200}}")

SHOWN_CHARACTERS = 12
"""Length of the part of a token that may be stored and shown to tell tokens apart (contract/fleet.md 5.2)."""


def bootstrap_token(installation_key: bytes, instance_id: UUID, generation: int) -> str:
    return BOOTSTRAP_PREFIX + derive_text(installation_key, Purpose.BOOTSTRAP, str(instance_id), str(generation))


def agent_token(installation_key: bytes, instance_id: UUID, generation: int, nonce: str) -> str:
    """The same nonce gives the same token: a repeated registration gets the same answer."""
    return AGENT_PREFIX + derive_text(installation_key, Purpose.AGENT, str(instance_id), str(generation), nonce)


def is_machine_token(text: str) -> bool:
    """Whether it has the shape of a bootstrap or agent token: of what has not, nothing need be looked up."""
    return _MACHINE_TOKEN.fullmatch(text) is not None


def serving_key(installation_key: bytes, instance_id: UUID, generation: int) -> str:
    return SERVING_PREFIX + derive_text(installation_key, Purpose.SERVING, str(instance_id), str(generation))


def shown_prefix(token: str) -> str:
    """What people recognise a token by; useless without the rest."""
    return token[:SHOWN_CHARACTERS]
