"""What a machine of the provider `local` is on disk: a folder, whose files say what was decided and what has happened.

    machine.json    what was ordered, and when: in the folder from its first moment
    started.json    when the agent was first started: the meter runs from here
    boot.json       boot data of the current generation (secret)
    deleting.json   a deletion was asked for
    ended.json      the tombstone: the machine is gone, its folder stays as the proof

The agent's own files (agent.lock, agent.json, agent.log, credentials.json) lie beside them.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import BaseModel, ValidationError

from models.base.durable import flush_folder
from models.base.errors import ProviderUnavailable
from models.base.private_files import NotPrivate, read_private
from models.ports.compute import BootData, MachineSpec

LOCK_WAIT_S = 30.0
LOCK_POLL_S = 0.02
FOLDER_NAME = re.compile(r"m-[0-9a-f]{24}")
DRAFT_PREFIX = ".draft-"
DRAFT_AGE_S = 3600.0
"""A draft that has been there for so long was left behind by a process that was killed while it wrote one."""

Stored = TypeVar("Stored", bound=BaseModel)
SECRETS_AND_STATE = ("boot.json", "credentials.json", "agent.json")


class Ordered(BaseModel):
    spec: MachineSpec
    created_at: datetime


class Moment(BaseModel):
    at: datetime


class AgentFacts(BaseModel):
    """What the agent says about itself in agent.json (docs/node-agent.md)."""

    FAILED: ClassVar[str] = "failed"
    """The one state that decides anything here; an agent of another version may know others."""

    pid: int
    generation: int
    state: str
    host: str | None = None
    port: int | None = None
    error: str | None = None

    @property
    def has_failed(self) -> bool:
        return self.state == self.FAILED


class MachineFolder:
    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def lock_file(self) -> Path:
        return self.path / "agent.lock"

    def ordered(self) -> Ordered:
        found = _read(self.path / "machine.json", Ordered)
        if found is None:
            raise ProviderUnavailable(f"machine.json of {self.id} is missing")
        return found

    def started_at(self) -> datetime | None:
        return _moment(self.path / "started.json")

    def deleting_since(self) -> datetime | None:
        return _moment(self.path / "deleting.json")

    def ended_at(self) -> datetime | None:
        return _moment(self.path / "ended.json")

    def agent(self) -> AgentFacts | None:
        return _read(self.path / "agent.json", AgentFacts)

    def agent_of_boot(self) -> AgentFacts | None:
        """None while the agent of the installed boot has said nothing: what an earlier one left says nothing of this one."""
        agent, boot = self.agent(), self.boot()
        return None if agent and boot and agent.generation != boot.generation else agent

    def boot(self) -> BootData | None:
        return _read(self.path / "boot.json", BootData)

    def mark_started(self, moment: datetime) -> None:
        if self.started_at() is None:
            _write(self.path / "started.json", Moment(at=moment))

    def mark_deleting(self, moment: datetime) -> None:
        if self.deleting_since() is None:
            _write(self.path / "deleting.json", Moment(at=moment))

    def mark_ended(self, moment: datetime) -> None:
        _write(self.path / "ended.json", Moment(at=moment))

    def write_boot(self, boot: BootData, model_file: Path, machine_key: str) -> None:
        data = boot.model_copy(update={"model_file": str(model_file)}).model_dump(mode="json")
        _write_text(self.path / "boot.json", json.dumps(data | {"machine_key": machine_key}))

    def forget_agent(self) -> None:
        """Remove the agent's secrets and state; its log stays."""
        for name in SECRETS_AND_STATE:
            (self.path / name).unlink(missing_ok=True)
        for rest in self.path.glob(".*.json.*"):  # a write that was killed halfway
            rest.unlink(missing_ok=True)

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """One adapter at a time, over all processes. Raises ProviderUnavailable when another one takes too long."""
        descriptor = os.open(self.path / "adapter.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + LOCK_WAIT_S
            while not _locked(descriptor):
                if time.monotonic() >= deadline:
                    raise ProviderUnavailable(f"machine {self.id} is being changed by another process")
                time.sleep(LOCK_POLL_S)
            yield
        finally:
            os.close(descriptor)


class MachineFolders:
    """All machines of this host, ended ones included."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._drafts_seen_s: dict[Path, float] = {}

    def find(self, machine_id: str) -> MachineFolder | None:
        """None when there never was a machine of this id. Raises ProviderUnavailable when that cannot be told."""
        self._must_exist()
        path = self._root / machine_id
        return MachineFolder(path) if FOLDER_NAME.fullmatch(machine_id) and path.is_dir() else None

    def all(self) -> list[MachineFolder]:
        self._must_exist()
        return [MachineFolder(path) for path in sorted(self._root.iterdir()) if FOLDER_NAME.fullmatch(path.name)]

    def find_or_make(self, spec: MachineSpec, moment: datetime) -> MachineFolder:
        """The folder for `spec.machine_key`. It appears complete or not at all, and once, whoever else tries."""
        self.make_root()
        path = self._root / folder_name(spec.machine_key)
        if not path.is_dir():
            self._sweep_drafts()
            draft = Path(tempfile.mkdtemp(prefix=DRAFT_PREFIX, dir=self._root))
            try:
                _write(draft / "machine.json", Ordered(spec=spec, created_at=moment))
                draft.rename(path)
            except OSError:
                shutil.rmtree(draft)
                if not path.is_dir():
                    raise
            flush_folder(self._root)
        return MachineFolder(path)

    def make_root(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _must_exist(self) -> None:
        # A folder that vanished (not mounted, deleted by hand) says nothing about the machines: it is no proof of absence.
        if not self._root.is_dir():
            raise ProviderUnavailable("the folder of served instances does not exist")

    def _sweep_drafts(self) -> None:
        """Since when one is there this process measures itself: a clock that is set makes every draft an old one."""
        now_s, seen_s = time.monotonic(), self._drafts_seen_s
        self._drafts_seen_s = {draft: seen_s.get(draft, now_s) for draft in self._root.glob(f"{DRAFT_PREFIX}*")}
        for draft, since_s in self._drafts_seen_s.items():
            if now_s - since_s > DRAFT_AGE_S:
                shutil.rmtree(draft, ignore_errors=True)


def folder_name(machine_key: str) -> str:
    return f"m-{hashlib.sha256(machine_key.encode()).hexdigest()[:24]}"


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _moment(path: Path) -> datetime | None:
    found = _read(path, Moment)
    return found.at if found else None


def _read(path: Path, model: type[Stored]) -> Stored | None:
    try:
        text = read_private(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except NotPrivate:
        raise ProviderUnavailable(
            f"{path.parent.name}/{path.name} is not private to this user: whoever can write it decides what is ended"
        ) from None
    try:
        return model.model_validate_json(text)
    except ValidationError:
        raise ProviderUnavailable(f"{path.parent.name}/{path.name} is damaged") from None


def _write(path: Path, value: BaseModel) -> None:
    _write_text(path, value.model_dump_json())


def _write_text(path: Path, text: str) -> None:
    """Atomic and durable, readable by its owner only."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    flush_folder(path.parent)
