"""The provider `mock`, as a worker has it."""

from typing import Final

import httpx

from activities.adapters.mock.adapter import MockCompute
from activities.adapters.mock.client import CloudClient
from activities.fleet.providers import Provider
from models.domain.fleet.providers import mock
from models.ports.compute import ComputePort
from models.settings import Settings, derived


def build(settings: Settings, http: httpx.AsyncClient) -> ComputePort:
    client = CloudClient(http, base_url=derived.simcloud_url(settings), token=derived.simcloud_token(settings))
    return MockCompute(client)


PROVIDER: Final = Provider(kind=mock.PROVIDER, build=build)
