"""What initdb(1) made for the first home of a session, copied for the next ones: it costs a second of a processor each time."""

import os
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from workers.embedded import postgres_files, postgres_place
from workers.embedded.account import Account
from workers.embedded.postgres_place import PostgresRecord

DATA, PASSWORD = "data", "password"


def copy_from(template: Path) -> None:
    """From now on in this process; all the homes have the password of the first. `template` is made by whoever finds none."""
    really_initialise, really_new_record = postgres_files.initialise, postgres_place.new_record

    def initialise(tree: Path, folder: Path, account: Account | None, password: str) -> None:
        if template.exists() and (template / PASSWORD).read_text() == password:
            _copy(template / DATA, folder / DATA)
            return
        really_initialise(tree, folder, account, password)
        partial = template.with_name(f"{template.name}.{os.getpid()}")
        partial.mkdir(mode=0o700)
        _copy(folder / DATA, partial / DATA)
        (partial / PASSWORD).write_text(password)
        with suppress(OSError):  # another one was first
            partial.rename(template)

    def new_record(home: Path, account: Account | None) -> PostgresRecord:
        record = really_new_record(home, account)
        return replace(record, password=(template / PASSWORD).read_text()) if template.exists() else record

    vars(postgres_files)["initialise"] = initialise
    vars(postgres_place)["new_record"] = new_record


def _copy(source: Path, target: Path) -> None:
    """With owners and modes; whole, or not there."""
    partial = target.with_name(f"{target.name}.partial")
    subprocess.run(["rm", "-rf", str(partial)], check=True)
    subprocess.run(["cp", "-a", str(source), str(partial)], check=True)
    partial.rename(target)
