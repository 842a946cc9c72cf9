"""Connecting to Temporal with the one plugin: the same for the API, every worker and the tools."""

import asyncio
from pathlib import Path

from temporalio.client import Client
from temporalio.service import HttpConnectProxyConfig, TLSConfig

from activities.runtime.plugin import platform_plugin
from models.base.proxies import Proxy, UnusableProxy
from models.domain.keys import Purpose, derive
from models.settings import Settings
from models.settings.derived import has_temporal_tls, installation_keys, temporal_address, temporal_proxy

CONNECT_TIMEOUT_S = 10.0
SETTLE_S = 0.3
"""An attempt that is given up ends in a thread of the SDK's core, which hangs or panics where the interpreter is gone by then."""


class TemporalUnreachable(RuntimeError):
    """Nothing that speaks Temporal's protocol answers there. The message is one line for the operator."""


async def connect(settings: Settings, *, lazy: bool = False) -> Client:
    """A client of the configured server and namespace. Lazy: connects at the first call, and the process starts without it.

    Raises TemporalUnreachable, within `CONNECT_TIMEOUT_S`, when `lazy` is not set.
    """
    try:
        proxy = temporal_proxy(settings)
    except UnusableProxy as error:
        raise TemporalUnreachable(f"Temporal at {temporal_address(settings)} cannot be reached: {error}") from None
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await _connect(settings, proxy, lazy=lazy)
    except (RuntimeError, TimeoutError) as error:
        await asyncio.sleep(SETTLE_S)
        security = ", and the certificate or API key for it" if has_temporal_tls(settings) else ""
        way = "" if proxy is None else f" through {proxy}, {proxy.address}"
        raise TemporalUnreachable(
            f"Temporal at {temporal_address(settings)} cannot be reached{way}; check QUARTERDECK_TEMPORAL_ADDRESS{security}"
        ) from error


async def _connect(settings: Settings, proxy: Proxy | None, *, lazy: bool) -> Client:
    key, *older = installation_keys(settings)
    return await Client.connect(
        temporal_address(settings),
        namespace=settings.temporal_namespace,
        tls=_tls(settings),
        api_key=settings.temporal_api_key.get_secret_value() if settings.temporal_api_key else None,
        plugins=[
            platform_plugin(
                derive(key, Purpose.CODEC), previous_codec_keys=[derive(each, Purpose.CODEC) for each in older]
            )
        ],
        lazy=lazy,
        http_connect_proxy_config=None if proxy is None else HttpConnectProxyConfig(proxy.endpoint, proxy.credentials),
    )


def _tls(settings: Settings) -> TLSConfig | bool:
    files = (settings.temporal_tls_ca_file, settings.temporal_tls_cert_file, settings.temporal_tls_key_file)
    if any(files):
        ca, certificate, key = (_bytes(path) for path in files)
        return TLSConfig(server_root_ca_cert=ca, client_cert=certificate, client_private_key=key)
    return has_temporal_tls(settings)


def _bytes(path: Path | None) -> bytes | None:
    return path.read_bytes() if path else None
