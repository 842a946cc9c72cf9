"""Identity: who signs in, and with which keys."""

from typing import Final

from api.family import ApiFamily, Turn
from api.routers.identity import api_keys, auth

FAMILY: Final = ApiFamily(name="identity", routers={Turn.PEOPLE: (auth.router, api_keys.router)})
