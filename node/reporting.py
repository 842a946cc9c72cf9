"""Registers with the control plane and tells it, for as long as the agent lives, how the machine fares."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from node import AGENT_VERSION
from node.boot import Boot
from node.control_plane import Backoff, ControlPlane, Refused, Registration, Unreachable
from node.credentials import Credentials, CredentialStore
from node.figures import SystemFigures
from node.front import Front
from node.phases import Phase, Phases
from node.slots import SlotGate

log = logging.getLogger(__name__)


class RegistrationRefused(Exception):
    """A first registration was refused: this machine can never join."""


class Reporter:
    def __init__(
        self, home: Path, boot: Boot, *, boot_id: str, port: int, front: Front, gate: SlotGate, phases: Phases
    ) -> None:
        self._boot = boot
        self._boot_id = boot_id
        self._port = port
        self._front = front
        self._gate = gate
        self._phases = phases
        self._store = CredentialStore(home)
        self._figures = SystemFigures(home)
        self.credentials = self._store.load(boot.generation)

    async def run(self, on_serving_key: Callable[[str], None]) -> None:
        """Never returns. Raises Refused when the control plane has let this agent go, RegistrationRefused if it never took it.

        While the control plane is away it tries on; a serving key known from before is announced at once, so that a
        restarted agent serves meanwhile.
        """
        if self.credentials.serving_key:
            on_serving_key(self.credentials.serving_key)
        async with ControlPlane(self._boot.control_plane_url) as control_plane:
            while True:
                registration = await self._register(control_plane)
                on_serving_key(registration.serving_key)
                interval_s = registration.heartbeat_interval_s or self._boot.heartbeat_interval_s
                await self._heartbeat(control_plane, registration.worker_token, interval_s)

    async def report_failure(self, reason: str, *, within_s: float) -> None:
        """Tell the control plane once why this machine can not serve. Best effort: the status file says it too."""
        try:
            async with asyncio.timeout(within_s), ControlPlane(self._boot.control_plane_url) as control_plane:
                token = self.credentials.worker_token
                if token is None:
                    token = (
                        await control_plane.register(self._boot.bootstrap_token, self._registration())
                    ).worker_token
                await control_plane.heartbeat(token, self._beat(Phase.LOADING_MODEL, error=reason))
        except (Refused, Unreachable, TimeoutError) as error:
            log.warning("the failure could not be reported: %s", error)

    async def _register(self, control_plane: ControlPlane) -> Registration:
        """With the worker token and, where that is refused, with the bootstrap token: a control plane of a time before this agent
        registered knows no other.
        """
        known_token = self.credentials.worker_token
        tokens = [*([known_token] if known_token else []), self._boot.bootstrap_token]
        backoff = Backoff()
        while True:
            try:
                registration = await control_plane.register(tokens[0], self._registration())
                self._keep(registration)
            except Unreachable as error:
                delay_s = backoff.next_delay_s(error)
                log.warning("registration: %s; again in %.1f s", error, delay_s)
                await asyncio.sleep(delay_s)
            except Refused as error:
                if error.is_of_token and len(tokens) > 1:
                    tokens.pop(0)
                    continue
                if known_token is None:
                    raise RegistrationRefused(f"the control plane refused the registration ({error.status})") from None
                raise
            else:
                log.info("registered instance %s as %s", self._boot.instance_id, self.credentials.worker_id)
                return registration

    def _keep(self, registration: Registration) -> None:
        """Raises Unreachable where they cannot be written: the same nonce asked again gives the same ones."""
        try:
            self.credentials = self._store.keep(
                self.credentials, worker_token=registration.worker_token, serving_key=registration.serving_key
            )
        except OSError as error:
            raise Unreachable(f"what it answered cannot be written: {error.strerror}") from None

    async def _heartbeat(self, control_plane: ControlPlane, token: str, interval_s: float) -> None:
        """Returns when a heartbeat is refused after one that was taken: registering again may help. Raises Refused before."""
        backoff = Backoff()
        is_taken = False
        while True:
            phase = self._phases.next_report()
            try:
                await control_plane.heartbeat(token, self._beat(phase))
            except Refused as error:
                if not is_taken:
                    raise
                self._phases.report_failed()
                log.warning("heartbeat: %s; registering again", error)
                return
            except Unreachable as error:
                self._phases.report_failed()
                delay_s = backoff.next_delay_s(error)
                log.warning("heartbeat: %s; again in %.1f s", error, delay_s)
                await asyncio.sleep(delay_s)
            else:
                backoff.reset()
                is_taken = True
                self._phases.reported()
                await self._phases.wait_entered(interval_s)

    def _registration(self) -> dict[str, object]:
        boot, credentials = self._boot, self.credentials
        return self._identity(credentials) | {
            "nonce": credentials.nonce,
            "vllm_port": self._port,
            "health_port": self._port,
            "metadata": {
                "agent_version": AGENT_VERSION,
                "slots": boot.slots,
                "context_length": boot.context_length,
                "generation": boot.generation,
            },
        }

    def _beat(self, phase: Phase, *, error: str | None = None) -> dict[str, object]:
        metadata: dict[str, object] = {"gpus": [], "system": self._figures.sample()}
        capabilities = self._front.capabilities
        if capabilities is not None:
            metadata["capabilities"] = capabilities.as_report()
        if error is not None:
            metadata["error"] = error
        return self._identity(self.credentials) | {
            "status": "ready" if phase is Phase.SERVING else "starting",
            "phase": phase.value,
            "queue_depth": self._gate.waiting,
            "slots_total": self._gate.total,
            "slots_busy": self._gate.busy,
            "agent_info": {"version": AGENT_VERSION},
            "metadata": metadata,
        }

    def _identity(self, credentials: Credentials) -> dict[str, object]:
        return {
            "instance_id": self._boot.instance_id,
            "worker_id": credentials.worker_id,
            "boot_id": self._boot_id,
            "model_id": self._boot.model_id,
        }
