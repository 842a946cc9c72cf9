"""Its machines: those of the provider in memory."""

from typing import Final

import httpx

from activities.providers import Provider
from models.domain.fleet.provider_kinds import PROVIDER_KINDS
from models.ports.compute import ComputePort
from models.settings import Settings
from tests.fakes.compute import FakeCompute


def build(settings: Settings, http: httpx.AsyncClient) -> ComputePort:
    del settings, http
    return FakeCompute()


PROVIDER: Final = Provider(kind=PROVIDER_KINDS.of("acme"), build=build)
