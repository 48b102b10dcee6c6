"""Points of a run at which it is disturbed: a step of a round, before or after one of its commits."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from cyclealign.loop import align, lease, train
from cyclealign.loop.ports import Ports

T = TypeVar("T")
Action = Literal["kill", "term", "stop", "mark"]
STEPS = ("examine_judge", "generate", "judge", *align.STEPS)
SHORT_LEASE_SECONDS = 3.0


@dataclass(frozen=True)
class Point:
    """A place in a run, and what happens there, once.

    Attributes:
        commit: the n-th commit of the step, 0: its start. A step with fewer commits is disturbed at its end.
        after: the commit has been made.
        action: ``kill``, ``term`` and ``stop`` send this process a signal; ``mark`` waits until `release` is called.
    """

    round: int
    step: str
    commit: int = 0
    after: bool = False
    action: Action = "kill"

    def mark(self, home: Path) -> Path:
        """Return the file that says that the run has come here."""
        return home / f"reached-{self.round}-{self.step}"


def wait_for_mark(point: Point, home: Path, alive: Callable[[], bool]) -> bool:
    """Wait until the run has come to the point; return whether it has before it ended."""
    while not point.mark(home).exists():
        if not alive():
            return False
        time.sleep(0.01)
    return True


def release(point: Point, home: Path) -> None:
    """Let the run go on from a mark."""
    point.mark(home).with_suffix(".go").touch()


class Points:
    """Disturbs this process at the points."""

    def __init__(self, points: Sequence[Point], home: Path) -> None:
        self._left, self._home = list(points), home
        self._at: Point | None = None
        self._commits = 0
        self._lock = threading.Lock()
        if any(point.action == "stop" for point in points) or os.environ.get("RECOVERY_SHORT_LEASE"):
            align.LEASE_SECONDS = lease.LEASE_SECONDS = train.LEASE_SECONDS = SHORT_LEASE_SECONDS  # type: ignore[misc]
        sa.event.listen(Engine, "commit", lambda _: self._committing(after=False))
        sa.event.listen(Session, "after_commit", lambda _: self._committing(after=True))

    def ports(self) -> Ports:
        """Return the loop's ports, with a step runner that knows the points."""
        return Ports(run_step=self._run_step)

    def _run_step(self, name: str, round_number: int, step: Callable[[], T]) -> T:
        mine = next((point for point in self._left if (point.round, point.step) == (round_number, name)), None)
        if mine is None:
            return step()
        with self._lock:
            self._at, self._commits = mine, 0
        if mine.commit == 0:
            self._reach(mine)
        result = step()
        self._reach(mine)
        return result

    def _committing(self, after: bool) -> None:
        point = self._at
        if point is None or point.after != after:
            return
        with self._lock:
            self._commits += 1
            here = self._commits == point.commit
        if here:
            self._reach(point)

    def _reach(self, point: Point) -> None:
        with self._lock:
            if point not in self._left:
                return
            self._left.remove(point)
            self._at = None
        point.mark(self._home).touch()
        if point.action == "mark":
            gone_on = point.mark(self._home).with_suffix(".go")
            while not gone_on.exists():
                time.sleep(0.01)
            return
        signals = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "stop": signal.SIGSTOP}
        os.kill(os.getpid(), signals[point.action])
