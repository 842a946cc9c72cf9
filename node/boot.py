"""What a machine is told at its first start."""

from dataclasses import dataclass
from pathlib import Path

from node.private_files import NotPrivate, read_json

BOOT_FILE = "boot.json"


class BootError(Exception):
    """The boot data can not be used. The message names the field, never its value."""


@dataclass(frozen=True, kw_only=True)
class Boot:
    instance_id: str
    control_plane_url: str
    bootstrap_token: str
    generation: int
    model_id: str
    model_code: str
    model_file: Path
    slots: int
    context_length: int  # tokens per slot
    heartbeat_interval_s: float
    machine_key: str

    def __repr__(self) -> str:
        return f"Boot(instance_id={self.instance_id!r}, generation={self.generation})"


def load_boot(home: Path) -> Boot:
    """The boot data in `home`. Raises BootError when it is absent, unreadable or incomplete."""
    try:
        data = read_json(home / BOOT_FILE)
    except NotPrivate as error:
        raise BootError(str(error)) from None
    except (OSError, ValueError) as error:
        raise BootError(f"{BOOT_FILE} cannot be read: {type(error).__name__}") from None
    if data is None:
        raise BootError(f"{BOOT_FILE} does not exist")
    boot = Boot(
        instance_id=_text(data, "instance_id"),
        control_plane_url=_text(data, "control_plane_url").rstrip("/"),
        bootstrap_token=_text(data, "bootstrap_token"),
        generation=int(_number(data, "generation")),
        model_id=_text(data, "model_id"),
        model_code=_text(data, "model_code"),
        model_file=Path(_text(data, "model_file")),
        slots=int(_number(data, "slots", 1)),
        context_length=int(_number(data, "context_length", 2048)),
        heartbeat_interval_s=_number(data, "heartbeat_interval_s", 4.0),
        machine_key=_text(data, "machine_key"),
    )
    if boot.slots < 1 or boot.context_length < 1 or boot.heartbeat_interval_s <= 0:
        raise BootError(f"{BOOT_FILE}: slots, context_length and heartbeat_interval_s must be positive")
    return boot


def _text(data: dict[str, object], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not value:
        raise BootError(f"{BOOT_FILE}: {name} must be a non-empty text")
    return value


def _number(data: dict[str, object], name: str, default: float | None = None) -> float:
    value = data.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BootError(f"{BOOT_FILE}: {name} must be a number")
    return value
