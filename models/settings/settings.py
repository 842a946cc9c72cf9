"""Everything an operator can set, as `QUARTERDECK_*` environment variables. `docs/settings.md` is these as a table.

What belongs to a family stands in its module in `families`, and is a field like any other. Only the values live here. What
follows from them together (which URL a role uses, the decoded key) is in `derived.py`; what makes a configuration refused is in
`checks.py`.
"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.base.listing import exported_classes
from models.settings import checks, families
from models.settings.values import FamilySettings, Folder, HttpUrl, Origins, Port, Proxies, Retentions

ENV_PREFIX = "QUARTERDECK_"


class Environment(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class SettingsError(Exception):
    """The configuration cannot be used. The message is one line, names the variable and never repeats a value."""


FAMILIES: Final = exported_classes(families, "FAMILY", FamilySettings)

if TYPE_CHECKING:
    from models.settings.families.fleet import FleetSettings
    from models.settings.families.inference import InferenceSettings

    class _OfFamilies(FleetSettings, InferenceSettings):
        """Those whose fields are read as the settings' own. Any other is told by `isinstance(settings, ItsSettings)`."""

else:

    class _OfFamilies(*FAMILIES):
        """The fields of every family."""


class Settings(BaseSettings, _OfFamilies):
    """One immutable record per process, read from the environment when it is built. Every repr masks the secrets."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    # -- This installation
    environment: Environment = Environment.DEVELOPMENT
    """`development` derives what is not set; `production` refuses to start without its own secrets and addresses."""
    home: Folder = Path(".quarterdeck")
    """Folder of everything that `quarterdeck up` keeps: databases, logs, the installation key, served instances."""
    installation_key: SecretStr | None = None
    """32 random bytes in base64url; every other key derives from it. Development: made in `<home>/installation.key`."""
    installation_key_previous: SecretStr | None = None
    """The key before the last rotation: still accepted for reading what it encrypted."""
    log_level: LogLevel = LogLevel.INFO
    """Least severe message that is logged: `debug`, `info`, `warning` or `error`."""
    log_file_bytes: Annotated[int, Field(ge=200_000)] = 10_000_000
    """Size in bytes above which a log of `quarterdeck up` is moved to an older one, while it is written to."""
    log_files_kept: Annotated[int, Field(ge=1, le=1_000)] = 4
    """Older logs of each part that `quarterdeck up` keeps; the start of a run makes one, too."""

    # -- Addresses
    api_host: str = "127.0.0.1"
    """Address on which the API listens."""
    api_port: Port = 8000
    """Port on which the API listens."""
    public_url: HttpUrl | None = None
    """Address of the API as people and clients reach it; in production `https://` outside loopback. Default: `http://<api_host>:<api_port>`."""
    control_plane_url: HttpUrl | None = None
    """Address of the API as rented machines reach it. Default: `public_url`."""
    trusted_proxies: Proxies = ""
    """Comma-separated addresses or networks of reverse proxies whose `X-Forwarded-*` headers are believed; `*`: anybody's."""
    cors_origins: Origins = ""
    """Comma-separated origins, `https://console.example.org`, of other sites whose pages may open sockets here."""
    session_cookie_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "quarterdeck_session"
    """Name of the cookie that holds a browser's session."""
    request_body_limit_bytes: Annotated[int, Field(ge=1024)] = 10_000_000
    """Largest request body of `/v1` in bytes; a larger one is answered with 413. Other paths take 64 KiB."""
    head_timeout_s: Annotated[float, Field(ge=0.1, le=120)] = 10.0
    """Longest time in seconds for a request's line and headers, from the connection or from their first byte."""
    body_timeout_s: Annotated[float, Field(ge=0.1, le=600)] = 30.0
    """Longest silence in seconds within a request's body."""
    connections_per_address: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Most connections from one address (of IPv6: one /64) to one API process; those of `trusted_proxies` are not counted."""
    streams_per_principal: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Most event streams that one API key or user follows at a time in one API process; as many answers may wait, beside them."""

    # -- First start
    organization_name: Annotated[str, Field(min_length=1, max_length=120)] = "Quarterdeck"
    """Name of the organization that the first start creates."""
    organization_slug: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)] = "quarterdeck"
    """Its slug: lower-case letters, digits and single hyphens."""
    admin_email: Annotated[str, Field(pattern=r"^[^\s@]+@[^\s@]+$", max_length=254)] = "admin@quarterdeck.local"
    """E-mail address of the administrator that the first start creates; the part before `@` is the username."""

    # -- Database
    database_url: SecretStr | None = None
    """For `migrate` and `bootstrap` alone: PostgreSQL URL of a superuser, or of a member of `quarterdeck_owner`.
    Not set: the embedded server."""
    database_url_worker: SecretStr | None = None
    """URL of the worker role. Development default: `database_url` with role `quarterdeck_worker`."""
    database_url_api: SecretStr | None = None
    """URL of the API role. Development default: `database_url` with role `quarterdeck_api`."""
    database_pool_size: Annotated[int, Field(ge=1, le=200)] = 10
    """Most connections to PostgreSQL for an API's requests, or a worker's owners; operating.md lists the others."""

    # -- Temporal
    temporal_address: str | None = None
    """`host:port` of the Temporal frontend. Not set: `quarterdeck up` runs a development server."""
    temporal_namespace: str = "default"
    """Temporal namespace; it must exist, and belongs to one installation."""
    temporal_port: Port = 7233
    """Port of the embedded Temporal server."""
    temporal_ui_port: Port = 8233
    """Port of the web UI of the embedded Temporal server."""
    temporal_ui_url: HttpUrl | None = None
    """Address of the Temporal web UI, for links. Default: that of the embedded server; none with `temporal_address`."""
    temporal_tls: bool = False
    """Connect to Temporal with TLS. A certificate or an API key below turns it on as well."""
    temporal_tls_ca_file: Path | None = None
    """PEM file of the authority that signed the Temporal server's certificate. Default: the system's."""
    temporal_tls_cert_file: Path | None = None
    """PEM file of this client's certificate (mTLS)."""
    temporal_tls_key_file: Path | None = None
    """PEM file of this client's private key (mTLS)."""
    temporal_api_key: SecretStr | None = None
    """API key for Temporal Cloud."""

    # -- Blobs
    blob_url: Annotated[str, Field(pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*/?$")] | None = (
        None
    )
    """`s3://bucket/prefix` for what is too large for a row. Default: the folder `<home>/blobs`, which processes share."""
    blob_endpoint: HttpUrl | None = None
    """Address of an S3 that is not Amazon's."""
    blob_region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")] | None = None
    """Region of the bucket."""
    blob_access_key_id: str | None = None
    """Id of the access key for the bucket. Default: what `AWS_*` variables or the machine's role give."""
    blob_secret_access_key: SecretStr | None = None
    """Secret of that access key."""
    blob_limit_bytes: Annotated[int, Field(ge=1, le=5_000_000_000)] = 100_000_000
    """Largest blob in bytes."""
    blob_grace_s: Annotated[float, Field(ge=60)] = 86_400.0
    """Seconds that a blob stays which nothing needs, counted from when it was put or let go."""

    # -- Records
    event_retention_s: Annotated[float, Field(ge=checks.SHORTEST_RETENTION_S)] = 7 * 86_400.0
    """Seconds that events of streams are kept for readers who resume."""
    event_retention_by_stream: Retentions = ""
    """Other seconds for kinds of streams, as `operation=86400, instance=7200`; `organization` is what lists follow."""

    @model_validator(mode="after")
    def _refuse_what_is_unsafe(self) -> Self:
        checks.refuse_bad_keys(installation_key=self.installation_key, previous=self.installation_key_previous)
        checks.refuse_half_a_certificate(cert=self.temporal_tls_cert_file, key=self.temporal_tls_key_file)
        for name in ("database_url", "database_url_worker", "database_url_api"):
            checks.refuse_other_databases(ENV_PREFIX + name.upper(), getattr(self, name))
        if self.environment is Environment.PRODUCTION:
            checks.refuse_missing(
                ENV_PREFIX, installation_key=self.installation_key, temporal_address=self.temporal_address
            )
            checks.refuse_public_passwords(
                ENV_PREFIX, self.database_url, self.database_url_worker, self.database_url_api
            )
            checks.refuse_clear_text(
                f"{ENV_PREFIX}PUBLIC_URL", self.public_url or f"http://{self.api_host}:{self.api_port}"
            )
        return self


def load_settings() -> Settings:
    """The settings of this process's environment. Raises SettingsError."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(checks.in_one_line(error, ENV_PREFIX)) from None
