"""What starts `up` as a service and wants to be told when it is ready: systemd with `Type=notify` (sd_notify(3))."""

import os
import socket
from collections.abc import MutableMapping

from workers.embedded.finding import Finding

VARIABLE = "NOTIFY_SOCKET"
"""A path, or `@` and a name in Linux's abstract name space. systemd knows more kinds, for virtual machines; they are refused."""
READY, STOPPING = "READY=1", "STOPPING=1"


class ServiceManager:
    """Without an address nobody is told."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    @classmethod
    def taken_from(cls, environment: MutableMapping[str, str]) -> "ServiceManager":
        """Nobody else finds it there any more: what a part says to it would be taken for ours."""
        return cls(environment.pop(VARIABLE, None))

    def tell(self, *assignments: str) -> None:
        """Raises OSError, and never waits."""
        if self._address is None:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(0)
            channel.connect(_name_of(self._address))
            channel.send("\n".join(assignments).encode())

    def status(self, text: str) -> None:
        """One line that `systemctl status` shows. Raises OSError."""
        self.tell(f"STATUS={text}")


def _name_of(address: str) -> str:
    """Raises OSError for what is no address of ours."""
    if address.startswith("/"):
        return address
    if address.startswith("@") and len(address) > 1:
        return "\0" + address[1:]
    raise OSError(f"{VARIABLE} is neither a path nor an abstract name")


def check_service_manager() -> Finding | None:
    """For `quarterdeck doctor`: None where nobody wants to be told."""
    address = os.environ.get(VARIABLE)
    if address is None:
        return None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect(_name_of(address))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        remedy = "The service manager would wait for READY=1 in vain: use Type=exec, or unset it"
        return Finding("service manager", ok=False, text=f"{VARIABLE} cannot be reached ({reason})", remedy=remedy)
    return Finding("service manager", ok=True, text=f"{VARIABLE} is reached")
