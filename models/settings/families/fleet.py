"""What an operator can set of instances, and of the providers that need no credentials."""

from typing import Annotated, Final

from pydantic import Field, SecretStr

from models.settings.values import FamilySettings, Folder, HttpUrl, Port, Seconds


class FleetSettings(FamilySettings):
    # -- Instances
    worker_stale_seconds: Annotated[int, Field(ge=10, le=86_400)] = 120
    """Seconds without a heartbeat after which a ready instance counts as unavailable and is no longer routed."""
    heartbeat_interval_s: Seconds = 4.0
    """Seconds between two heartbeats of a machine."""
    drain_timeout_s: Annotated[float, Field(ge=0)] = 60.0
    """Longest wait in seconds for requests in flight before a draining instance is terminated."""
    unavailable_wait_s: Annotated[float, Field(ge=0)] = 120.0
    """Seconds that a silent instance is given to come back before `on_unavailable` acts."""
    worker_instance_startup_timeout_s: Annotated[int, Field(ge=30, le=86_400)] = 3600
    """Seconds from the start of boot after which an instance that serves no model counts as failed."""

    # -- Providers that need no credentials
    runner_zone: str = "local"
    """Zone that the `local` provider of this machine serves; its task queue is `runner@<zone>`."""
    instances_dir: Folder | None = None
    """Folder with one folder per served instance of the `local` provider. Default: `<home>/instances`."""
    models_dir: Folder | None = None
    """Folder of GGUF files that the `local` provider may serve. Default: `<home>/models`."""
    simcloud_port: Port | None = None
    """Port of the simulated cloud that `quarterdeck up` runs. Default: that of the API plus 900."""
    simcloud_url: HttpUrl | None = None
    """Address of the simulated cloud. Default: `http://127.0.0.1:<simcloud_port>`."""
    simcloud_token: SecretStr | None = None
    """API token of the simulated cloud. Default: derived from the installation key."""


FAMILY: Final = FleetSettings
