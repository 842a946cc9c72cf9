"""The provider `local`, as a worker on its host has it."""

from typing import Final

import httpx

from activities.adapters.local.adapter import LocalCompute
from activities.fleet.providers import Provider
from models.domain.fleet.providers import local
from models.ports.compute import ComputePort
from models.settings import Settings, derived


def build(settings: Settings, http: httpx.AsyncClient) -> ComputePort:
    """Machines are folders and programs: nothing is asked over a network."""
    del http
    return LocalCompute(derived.instances_dir(settings), models_dir=derived.models_dir(settings))


PROVIDER: Final = Provider(kind=local.PROVIDER, build=build)
