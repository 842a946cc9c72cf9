"""The owner of an instance: `workflow.py` is the loop, one module per phase, `row.py` and `owner.py` what they share."""

from workflows.instances.workflow import InstanceWorkflow

__all__ = ["InstanceWorkflow"]
