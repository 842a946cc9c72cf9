"""The provider `mock`: machines of the simulated cloud (`docs/simulated-cloud.md`)."""

from activities.adapters.mock.adapter import MockCompute
from activities.adapters.mock.client import CloudClient

__all__ = ["CloudClient", "MockCompute"]
