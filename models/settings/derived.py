"""What follows from several settings together. Besides them only two files of `quarterdeck up` are read."""

import json
from enum import StrEnum
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pydantic import SecretStr

from models.base.private_files import NotPrivate, check_folder, read_private
from models.base.proxies import Proxy, UnusableProxy, proxy_for
from models.domain.keys import Purpose, decode_installation_key, derive_text
from models.settings.settings import Environment, Settings, SettingsError

KEY_FILE = "installation.key"
POSTGRES_FILE = "postgres.json"
EMBEDDED_DATABASE = "quarterdeck"
EMBEDDED_SUPERUSER = "postgres"
TEMPORAL_PORT = 7233
SIMCLOUD_BESIDE_API = 900
LAST_PORT = 65_535


OWNER_ROLE = "quarterdeck_owner"
"""Everything in the database belongs to it. It cannot log in: `migrate` and `bootstrap` log in as another role and become it."""


class DatabaseRole(StrEnum):
    """The roles that processes log in as, both bound by row-level security. Their names are those of the server."""

    WORKER = "quarterdeck_worker"
    API = "quarterdeck_api"


def installation_key(settings: Settings) -> bytes:
    """The 32 bytes. Raises SettingsError when neither the variable nor the file of `quarterdeck up` exists."""
    if settings.installation_key is not None:
        return decode_installation_key(settings.installation_key.get_secret_value())
    path = settings.home / KEY_FILE
    try:
        return decode_installation_key(_of_home(path).strip())
    except FileNotFoundError:
        raise SettingsError(f"QUARTERDECK_INSTALLATION_KEY is not set and {path} does not exist") from None
    except NotPrivate as error:
        raise SettingsError(str(error)) from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} is not a readable installation key ({type(error).__name__})") from None


def installation_keys(settings: Settings) -> tuple[bytes, ...]:
    """The current key, then the one before the last rotation if it was given. Raises SettingsError."""
    previous = settings.installation_key_previous
    older = () if previous is None else (decode_installation_key(previous.get_secret_value()),)
    return installation_key(settings), *older


def check_home(settings: Settings) -> None:
    """Raises SettingsError for a home that others can write to or that belongs to somebody else. None is needed."""
    try:
        check_folder(settings.home)
    except FileNotFoundError:
        return
    except NotPrivate as error:
        raise SettingsError(f"{error}, or choose another folder with QUARTERDECK_HOME") from None
    except OSError as error:
        raise SettingsError(f"{settings.home} cannot be looked at ({type(error).__name__})") from None


def _of_home(path: Path) -> str:
    """The text of a file of the home that decides something. Raises NotPrivate, OSError, ValueError."""
    check_folder(path.parent)
    return read_private(path)


def database_password(key: bytes, role: DatabaseRole) -> str:
    """The password of a role in development, where no operator chose one."""
    return derive_text(key, Purpose.DATABASE, role.value)


def database_url(settings: Settings, role: DatabaseRole) -> str:
    """The URL with which a process of this role connects. It holds a password: never log it. Raises SettingsError."""
    explicit, variable = {
        DatabaseRole.WORKER: (settings.database_url_worker, "QUARTERDECK_DATABASE_URL_WORKER"),
        DatabaseRole.API: (settings.database_url_api, "QUARTERDECK_DATABASE_URL_API"),
    }[role]
    if explicit is not None:
        return explicit.get_secret_value()
    if settings.environment is Environment.PRODUCTION:
        raise SettingsError(f"{variable} is not set")
    return as_role(admin_url(settings), role, database_password(installation_key(settings), role))


def refuse_admin_url(settings: Settings) -> None:
    """For processes that stay: in production none of them is given the way to everything. Raises SettingsError."""
    if settings.environment is Environment.PRODUCTION and settings.database_url is not None:
        raise SettingsError(
            "QUARTERDECK_DATABASE_URL is for `migrate` and `bootstrap` alone: start this process without it"
        )


def admin_url(settings: Settings) -> str:
    """The URL with which `migrate` logs in: a superuser's, or that of a member of the owner role. Raises SettingsError."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    if settings.environment is Environment.PRODUCTION:
        raise SettingsError("QUARTERDECK_DATABASE_URL is not set")
    path = settings.home / POSTGRES_FILE
    try:
        record = json.loads(_of_home(path))
        return embedded_url(int(record["port"]), str(record["password"]))
    except NotPrivate as error:
        raise SettingsError(str(error)) from None
    except (OSError, ValueError, KeyError) as error:
        reason = f"there is no embedded server in {settings.home} ({type(error).__name__})"
        raise SettingsError(f"QUARTERDECK_DATABASE_URL is not set and {reason}") from None


def embedded_url(port: int, password: str, *, database: str = EMBEDDED_DATABASE, user: str = EMBEDDED_SUPERUSER) -> str:
    """A database of the server that `quarterdeck up` runs."""
    return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{port}/{database}"


def as_role(url: str, role: DatabaseRole, password: str) -> str:
    """The same server and database for another role."""
    parts = urlsplit(url)
    server = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role.value}:{quote(password, safe='')}@{server}"))


def as_owner(url: str) -> str:
    """The same log-in, which becomes the owner role before its first statement. The options that the URL has stay."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    query["options"] = f"{query.get('options', '')} -c role={OWNER_ROLE}".strip()
    return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote)))


def public_url(settings: Settings) -> str:
    return settings.public_url or f"http://{settings.api_host}:{settings.api_port}"


def control_plane_url(settings: Settings) -> str:
    """Where machines register. A machine elsewhere cannot reach a loopback address: set it for real clouds."""
    return settings.control_plane_url or public_url(settings)


def llm_base_url(settings: Settings) -> str:
    return settings.llm_base_url or f"{public_url(settings)}/v1"


def temporal_address(settings: Settings) -> str:
    return settings.temporal_address or f"127.0.0.1:{settings.temporal_port}"


def temporal_endpoint(settings: Settings) -> tuple[str, int]:
    """Host and port of `temporal_address`; the port is Temporal's usual one where the address names none."""
    host, _, port = temporal_address(settings).rpartition(":")
    if not port.isdigit():
        return temporal_address(settings), TEMPORAL_PORT
    return host.removeprefix("[").removesuffix("]"), int(port)


def has_temporal_tls(settings: Settings) -> bool:
    """A certificate or an API key turns it on as well."""
    files = (settings.temporal_tls_ca_file, settings.temporal_tls_cert_file, settings.temporal_tls_key_file)
    return settings.temporal_tls or settings.temporal_api_key is not None or any(files)


def temporal_proxy(settings: Settings) -> Proxy | None:
    """Of a server with TLS only: one without is in a network of one's own, where no proxy is in the way. Raises UnusableProxy."""
    host, port = temporal_endpoint(settings)
    if not has_temporal_tls(settings):
        return None
    proxy = proxy_for(f"https://{f'[{host}]' if ':' in host else host}:{port}")
    if proxy is not None and proxy.is_tls:
        raise UnusableProxy(
            f"{proxy.variable} names an https:// proxy, and Temporal's client speaks to http:// ones only"
        )
    return proxy


def temporal_ui_url(settings: Settings) -> str | None:
    """None where nobody said where the web UI of an external Temporal is."""
    if settings.temporal_ui_url is None and settings.temporal_address is None:
        return f"http://127.0.0.1:{settings.temporal_ui_port}"
    return settings.temporal_ui_url


def blobs_dir(settings: Settings) -> Path:
    """Where blobs are without a `blob_url`."""
    return settings.home / "blobs"


def instances_dir(settings: Settings) -> Path:
    return settings.instances_dir or settings.home / "instances"


def models_dir(settings: Settings) -> Path:
    return settings.models_dir or settings.home / "models"


def simcloud_port(settings: Settings) -> int:
    """With the API's port (8000 and 8900), so that of two stacks side by side each has its own, and the same at every start: its
    machines have it in their addresses. Below it where there is no port 900 above.
    """
    beside = settings.api_port + SIMCLOUD_BESIDE_API
    return settings.simcloud_port or (beside if beside <= LAST_PORT else settings.api_port - SIMCLOUD_BESIDE_API)


def simcloud_url(settings: Settings) -> str:
    return settings.simcloud_url or f"http://127.0.0.1:{simcloud_port(settings)}"


def simcloud_token(settings: Settings) -> SecretStr:
    if settings.simcloud_token is not None:
        return settings.simcloud_token
    return SecretStr(derive_text(installation_key(settings), Purpose.SIMCLOUD))
