"""The sandbox that workflows run in, its modules loaded once per workflow type instead of once per run.

The SDK's sandbox loads the workflow's modules anew for every run, so that no run sees what another left in them. Our workflow
modules hold constants, functions and classes, which an architecture test sees to: there is nothing to be left. What the sandbox
forbids stays forbidden: the modules are loaded inside it, with its restrictions, and every run is executed under them.

Decision record: docs/decisions/0095-a-sandbox-is-loaded-once.md.
"""

import threading
from dataclasses import dataclass, field
from functools import cache
from types import CodeType
from typing import Any

from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.worker.workflow_sandbox._importer import Importer
from temporalio.worker.workflow_sandbox._restrictions import RestrictionContext
from temporalio.worker.workflow_sandbox._runner import _Instance


@dataclass(frozen=True)
class LoadedOnceRunner(SandboxedWorkflowRunner):
    """The SDK's sandbox with one set of modules for all runs of a workflow type.

    A worker prepares each type before it runs any, in one thread: so they are loaded before two threads could ask for them.
    """

    _importers: dict[str, Importer] = field(default_factory=dict, init=False, repr=False, compare=False)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        name = det.defn.cls.__module__
        if name not in self._importers:
            self._importers[name] = Importer(self.restrictions, _OfThread(), workflow_module_name=name)
        return _Run(det, self.runner_class, self._importers[name])


class _OfThread(threading.local, RestrictionContext):
    """Whether workflow code runs, which is so in one thread and not in another: runs of one type are executed side by side."""


class _Run(_Instance):
    def __init__(
        self, details: WorkflowInstanceDetails, runner_class: type[WorkflowRunner], importer: Importer
    ) -> None:
        """As the SDK's own does, but for the importer, which it would make anew."""
        self.instance_details = details
        self.runner_class = runner_class
        self.importer = importer
        self._current_thread_id = None
        self.globals_and_locals = {"__file__": "workflow_sandbox.py"}
        self._create_instance()

    def _run_code(self, code: str, **extra_globals: Any) -> None:
        super()._run_code(_compiled(code), **extra_globals)  # type: ignore[arg-type]  # `exec` takes either


@cache
def _compiled(code: str) -> CodeType:
    """The SDK has a handful of such texts, and would compile one for each activation."""
    return compile(code, "workflow_sandbox.py", "exec")
