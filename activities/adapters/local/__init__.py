"""The provider `local`: model servers on this machine, each a node agent with a folder of its own."""

from activities.adapters.local.adapter import LocalCompute

__all__ = ["LocalCompute"]
