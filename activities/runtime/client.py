"""Connecting to Temporal with the one plugin: the same for the API, every worker and the tools."""

from pathlib import Path

from temporalio.client import Client
from temporalio.service import TLSConfig

from activities.runtime.plugin import platform_plugin
from models.domain.keys import Purpose, decode_installation_key, derive
from models.settings import Settings
from models.settings.derived import installation_key, temporal_address


async def connect(settings: Settings, *, lazy: bool = False) -> Client:
    """A client of the configured server and namespace. Lazy: connects at the first call, and the process starts without it.

    Raises RuntimeError when the server cannot be reached and `lazy` is not set.
    """
    previous = settings.installation_key_previous
    older = [decode_installation_key(previous.get_secret_value())] if previous else []
    return await Client.connect(
        temporal_address(settings),
        namespace=settings.temporal_namespace,
        tls=_tls(settings),
        api_key=settings.temporal_api_key.get_secret_value() if settings.temporal_api_key else None,
        plugins=[
            platform_plugin(
                derive(installation_key(settings), Purpose.CODEC),
                previous_codec_keys=[derive(key, Purpose.CODEC) for key in older],
            )
        ],
        lazy=lazy,
    )


def _tls(settings: Settings) -> TLSConfig | bool:
    files = (settings.temporal_tls_ca_file, settings.temporal_tls_cert_file, settings.temporal_tls_key_file)
    if any(files):
        ca, certificate, key = (_bytes(path) for path in files)
        return TLSConfig(server_root_ca_cert=ca, client_cert=certificate, client_private_key=key)
    return settings.temporal_tls or settings.temporal_api_key is not None


def _bytes(path: Path | None) -> bytes | None:
    return path.read_bytes() if path else None
