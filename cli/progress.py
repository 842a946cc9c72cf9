"""An operation drawn while it runs, on standard error: a bar at a terminal, a line per change elsewhere."""

import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cli.screen import Screen
from cli.snapshot import Snapshot, step_label
from cli.text import duration, printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class ProgressView(ABC):
    """A context manager: entered before the first snapshot, left before anything else is written."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leaves the terminal as it was. Only what draws has something to leave."""
        return

    @abstractmethod
    def show(self, seen: Snapshot) -> None: ...


def view_for(screen: Screen) -> ProgressView:
    if screen.as_json:
        return Silence()
    return Bar(screen) if screen.is_live else Lines(screen)


class Silence(ProgressView):
    """For `--json`."""

    def show(self, seen: Snapshot) -> None:
        return None


class Steps:
    """The steps completed since the last look, and the seconds since the watching began. A new boot starts over."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._known: tuple[str, ...] = ()

    def news(self, seen: Snapshot) -> list[str]:
        if not set(self._known) <= set(seen.steps):
            self._known = tuple(step for step in seen.steps if step in self._known)
        fresh = [step for step in seen.steps if step not in self._known]
        self._known = seen.steps
        return fresh

    @property
    def elapsed(self) -> str:
        return duration(time.monotonic() - self._began)


class Lines(ProgressView):
    """One line for each completed step and for each change of status: what a log of a build keeps."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._steps = Steps()
        self._state = ""

    def show(self, seen: Snapshot) -> None:
        for step in self._steps.news(seen):
            self._screen.note(f"{seen.percent:3.0f} %  done: {step_label(step)}")
        state = _state(seen)
        if state != self._state:
            self._state = state
            self._screen.note(f"{seen.percent:3.0f} %  {state}")


class Bar(ProgressView):
    """A bar of the percent, with the state beside it and the completed steps above it."""

    def __init__(self, screen: Screen) -> None:
        self._console = screen.console()
        self._steps = Steps()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=100)
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, seen: Snapshot) -> None:
        if self._progress is None or self._task is None:
            raise RuntimeError("a bar is shown before it is entered")
        for step in self._steps.news(seen):
            self._progress.console.print(f"  ✓ {step_label(step):<22} {self._steps.elapsed}")
        description = _state(seen) + (f": {seen.waiting}" if seen.waiting else "")
        self._progress.update(self._task, completed=seen.percent, description=description)


def _state(seen: Snapshot) -> str:
    """A hold is part of it: a log of a build gets a line when one begins and when it ends."""
    return printable(seen.instance_status or seen.operation_status) + (f", held: {seen.held}" if seen.held else "")
