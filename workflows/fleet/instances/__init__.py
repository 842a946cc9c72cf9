"""The owner of an instance: `workflow.py` says which phase acts, one module per phase, `owner.py` what they share.

Its life, the same for every owner, is `workflows/lib/owner.py`.
"""

from workflows.fleet.instances.workflow import InstanceWorkflow

__all__ = ["InstanceWorkflow"]
