"""What of others' environment variables would keep Quarterdeck from working: checks of `quarterdeck doctor`.

What our programs do not see (`models.base.foreign_variables`) is no problem, and not spoken of.
"""

import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from models.base.certificates import FILE, FOLDER, UnusableCertificates, chosen_authorities
from models.base.foreign_variables import foreign_folders
from models.base.proxies import Proxy, UnusableProxy, proxy_for
from workers.embedded.finding import Finding

if TYPE_CHECKING:
    from models.settings import Settings

CONNECT_TIMEOUT_S = 3.0


def check_imports(left_out: Mapping[str, str]) -> Iterator[Finding]:
    """`left_out`: what this process was started with and has removed. What Python imported before that stays."""
    folders = foreign_folders(left_out.get("PYTHONPATH", ""))
    loaded = {name: Path(file) for name, module in sys.modules.items() if (file := getattr(module, "__file__", None))}
    found = sorted(name for name, file in loaded.items() if any(file.is_relative_to(folder) for folder in folders))
    if found:
        text = f"{', '.join(found[:5])} of its folders was imported before anything of ours"
        yield Finding("PYTHONPATH", ok=False, text=text, remedy="Unset PYTHONPATH")
    if left_out.get("PYTHONHOME"):
        text = "says where Python's own modules come from"
        yield Finding("PYTHONHOME", ok=False, text=text, remedy="Unset it: the interpreter knows")


def check_files(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Certificates and the folder for temporary files, where they are set."""
    set_ones = [name for name in (FILE, FOLDER) if environ.get(name)]
    if set_ones:
        try:
            chosen_authorities(environ)
        except UnusableCertificates as error:
            yield Finding("certificates", ok=False, text=str(error), remedy="Calls with TLS fail: mend it, or unset it")
        else:
            yield Finding("certificates", ok=True, text=f"those of {' and '.join(set_ones)}")
    folder = environ.get("TMPDIR")
    if folder:
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            text = f"{folder} cannot be written to ({error.strerror})"
            yield Finding("TMPDIR", ok=False, text=text, remedy="Make the folder, or unset TMPDIR")
        else:
            yield Finding("TMPDIR", ok=True, text=folder)


def check_proxies(settings: "Settings", environ: Mapping[str, str]) -> Iterator[Finding]:
    """Those that something of this installation would go through."""
    for variable, proxy in sorted(_proxies_in_use(settings, environ).items()):
        if isinstance(proxy, UnusableProxy):
            yield Finding("proxy", ok=False, text=str(proxy))
            continue
        try:
            with socket.create_connection((proxy.host, proxy.port), timeout=CONNECT_TIMEOUT_S):
                yield Finding("proxy", ok=True, text=f"{proxy}, {proxy.address}, accepts connections")
        except OSError as error:
            text = f"{proxy}, {proxy.address}, cannot be reached ({error.strerror or type(error).__name__})"
            remedy = f"Mend {variable}, or name in NO_PROXY what is reached without it"
            yield Finding("proxy", ok=False, text=text, remedy=remedy)


def has_proxy_to_temporal(settings: "Settings") -> bool:
    """Also one that cannot be used."""
    from models.settings.derived import temporal_proxy  # noqa: PLC0415  (needs what `doctor` may find missing)

    try:
        return temporal_proxy(settings) is not None
    except UnusableProxy:
        return True


def _proxies_in_use(settings: "Settings", environ: Mapping[str, str]) -> dict[str, Proxy | UnusableProxy]:
    """By variable; by what it says where it cannot be used."""
    from models.settings import derived  # noqa: PLC0415  (needs what `doctor` may find missing)

    found: dict[str, Proxy | UnusableProxy] = {}
    host, port = derived.temporal_endpoint(settings)
    temporal = [f"https://{host}:{port}"] if derived.has_temporal_tls(settings) else []
    called = (derived.public_url, derived.control_plane_url, derived.simcloud_url, derived.llm_base_url)
    for url in (*temporal, *(address(settings) for address in called)):
        try:
            proxy = proxy_for(url, environ)
        except UnusableProxy as error:
            found[str(error)] = error
            continue
        if proxy is not None:
            found[proxy.variable] = proxy
    return found
