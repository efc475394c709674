"""What the user sees of long work: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

# A step shorter than this many seconds is not announced on a plain console, only its end.
ANNOUNCE_AFTER = 5.0


class Board:
    """Prints each step with the seconds it took. Steps may run in several threads at once."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self.begun = time.monotonic()
        self._bars: Progress | None = None
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        self.console.print(text, markup=False)

    @contextmanager
    def live(self) -> Iterator[None]:
        """While inside, running steps are shown as bars when there is a terminal."""
        if not self.console.is_terminal or self._bars:
            yield
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[last]}", style="dim"),
        )
        with Progress(*columns, console=self.console, transient=True) as bars:
            self._bars = bars
            try:
                yield
            finally:
                self._bars = None

    @contextmanager
    def step(self, name: str, log: Path | None = None, done: Callable[[], float] | None = None) -> Iterator[None]:
        """One piece of work. *log*'s last line is shown while it runs; *done* gives the finished part, 0 to 1."""
        begun = time.monotonic()
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(name, log, done, over), daemon=True)
        watcher.start()
        try:
            yield
        except BaseException:
            over.set()
            watcher.join()
            self.say(f"{self._clock()}  FAILED  {name}" + (f"  (log: {log})" if log else ""))
            raise
        over.set()
        watcher.join()
        self.say(f"{self._clock()}  {name}  {time.monotonic() - begun:.1f} s")

    def _clock(self) -> str:
        return f"{time.monotonic() - self.begun:6.1f} s"

    def _watch(self, name: str, log: Path | None, done: Callable[[], float] | None, over: threading.Event) -> None:
        if self._bars is None:
            if not over.wait(ANNOUNCE_AFTER):
                self.say(f"{self._clock()}  … {name}" + (f"  (log: {log})" if log else ""))
            return
        bars, task = self._bars, self._bars.add_task(name, total=1 if done else None, last="")
        while not over.wait(0.2):
            self._refresh(bars, task, log, done)
        bars.remove_task(task)

    @staticmethod
    def _refresh(bars: Progress, task: TaskID, log: Path | None, done: Callable[[], float] | None) -> None:
        if done:
            bars.update(task, completed=done())
        if log:
            bars.update(task, last=last_line(log)[:60])


def last_line(log: Path) -> str:
    """The last line that is not empty in the last 2 kB of *log*, or ""."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 2048))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


@dataclass(frozen=True, slots=True)
class Step:
    """A node of a graph of work. *needs* are names of steps that must end before."""

    name: str
    work: Callable[[], object]
    needs: tuple[str, ...] = ()
    log: Path | None = None
    done: Callable[[], float] | None = field(default=None, compare=False)


def run_steps(board: Board, steps: Sequence[Step], width: int = 2) -> None:
    """Runs *steps* as their needs allow, *width* at once. The first failure ends it after what runs; it is raised."""
    waiting = {step.name: step for step in steps}
    unknown = {need for step in steps for need in step.needs} - set(waiting)
    if unknown:
        raise ValueError(f"steps need what is not there: {', '.join(sorted(unknown))}")
    ended: set[str] = set()
    running: dict[Future[object], str] = {}

    def perform(step: Step) -> object:
        with board.step(step.name, step.log, step.done):
            return step.work()

    with board.live(), ThreadPoolExecutor(width) as pool:
        while waiting or running:
            ready = [step for step in waiting.values() if ended.issuperset(step.needs)]
            for step in ready[: width - len(running)]:
                del waiting[step.name]
                running[pool.submit(perform, step)] = step.name
            if not running:
                raise ValueError(f"steps wait for each other: {', '.join(waiting)}")
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                name = running.pop(future)
                future.result()
                ended.add(name)
