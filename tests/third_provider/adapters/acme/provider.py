"""Its machines: those of the provider in memory, of which none can be installed anew and none has a volume."""

from typing import Final

import httpx

from activities.fleet.providers import Provider
from models.domain.fleet.provider_kinds import PROVIDER_KINDS
from models.ports.compute import ComputePort
from models.settings import Settings
from tests.fakes.compute import FakeCompute


class AcmeCompute:
    """ComputePort and SupportsAgentRestart."""

    def __init__(self, cloud: FakeCompute) -> None:
        self.find, self.create, self.describe = cloud.find, cloud.create, cloud.describe
        self.delete, self.ended = cloud.delete, cloud.ended
        self.list_machines, self.page_of_machines = cloud.list_machines, cloud.page_of_machines
        self.restart_agent = cloud.restart_agent


def build(settings: Settings, http: httpx.AsyncClient) -> ComputePort:
    del settings, http
    return AcmeCompute(FakeCompute())


PROVIDER: Final = Provider(kind=PROVIDER_KINDS.of("acme"), build=build)
