"""The files of a PostgreSQL server: an initialised data directory and its configuration, owned by the account that runs it."""

import os
import secrets
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

from models.settings.derived import EMBEDDED_SUPERUSER
from workers.embedded import named_exec
from workers.embedded.account import GIVE_A_NAME, WITHOUT_A_NAME, Account, named_argv
from workers.embedded.errors import NotReady, StartError
from workers.embedded.processes import owned_argv

INITDB_TIMEOUT_S = 120.0

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
    """`postgresql.conf` from this version's settings: edits belong into `postgresql.auto.conf` (ALTER SYSTEM).

    One that says so already is left alone, and the old one is there until the new one is whole: the disk may be full.
    """
    values = {**CONFIGURATION, "port": str(port), **overrides}
    text = "".join(f"{key} = '{value}'\n" for key, value in values.items())
    target, partial = data / "postgresql.conf", data / "postgresql.conf.partial"
    if not target.exists() or target.read_text() != text:
        _write_private(partial, text, account)
        partial.replace(target)


def _write_private(path: Path, text: str, account: Account | None) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        if account is not None:
            os.fchown(file.fileno(), account.uid, account.gid)
        file.write(text)


def _run(tree: Path, account: Account | None, cwd: Path, *arguments: str) -> None:
    try:
        result = _ended(tree, account, cwd, *arguments)
    except subprocess.TimeoutExpired:
        raise NotReady(f"PostgreSQL's initdb is not ready after {INITDB_TIMEOUT_S:.0f} s") from None
    if result.returncode == named_exec.REFUSED:
        raise StartError(f"{WITHOUT_A_NAME}, and no user namespace can be made for it: {GIVE_A_NAME}")
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        causes = [line for line in lines if any(word in line for word in ("error:", "FATAL:", "PANIC:"))]
        reason = next(iter(causes or lines), "no reason given")  # after the cause it says what follows from it
        raise StartError(f"PostgreSQL's initdb failed: {reason[:300]}")


def _ended(tree: Path, account: Account | None, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = owned_argv((str(tree / "bin" / "initdb"), *arguments), signal.SIGTERM, account)
    return subprocess.run(
        program if account is not None else named_argv(program),
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",  # it names folders, which may be called anything
        check=False,
        timeout=INITDB_TIMEOUT_S,
    )
