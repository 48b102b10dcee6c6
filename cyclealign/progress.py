"""Progress of a run: sent to listeners, such as the terminal's bars, and to the run's log."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

OnProgress = Callable[[int, int], None]  # called with the number done and the total
Listener = Callable[[str, int, int], None]

# Names the log of progress: its lines are all that is seen of a run without a terminal.
LOGGER = "cyclealign.progress"
LOG_SECONDS = 30.0  # a step that takes long is logged at least this often, if it reports that often
logger = logging.getLogger(LOGGER)
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call ``listener(step, done, total)`` on progress while the block runs; a heading has a total of 0."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def announce(heading: str) -> None:
    """Report a heading: an experiment's round, a job's run."""
    for listener in _listeners:
        listener(heading, 0, 0)
    logger.info("%s", heading)


def report_progress(what: str, done: int, of: int) -> None:
    """Report progress of a step; the log gets its start, each quarter, its end, and a line every half minute."""
    for listener in _listeners:
        listener(what, done, of)
    if line := _log.line(what, done, of):
        logger.info("%s", line)


@dataclass
class _Step:
    """A step under way: when it started and with how much done, and what was logged last."""

    started: float
    done_at_start: int
    logged: float
    logged_done: int


class ProgressLog:
    """Chooses the reports that are logged, and adds rate and time left. Thread-safe.

    Args:
        clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._steps, self._lock = clock, dict[str, _Step](), threading.Lock()

    def line(self, what: str, done: int, of: int) -> str | None:
        """Return the line to log for this report; None: log nothing."""
        now = self._clock()
        with self._lock:
            step = self._steps.get(what)
            if step is None or done < step.logged_done:  # new, or begun anew
                self._steps[what] = _Step(now, done, now, done)
                line = f"{what}: {done} of {of}"
            else:
                if not self._due(step, done, of, now):
                    return None
                step.logged, step.logged_done = now, done
                line = f"{what}: {done} of {of}{pace(done - step.done_at_start, of - done, now - step.started)}"
            if done >= of:
                self._steps.pop(what)
            return line

    def _due(self, step: _Step, done: int, of: int, now: float) -> bool:
        """Return whether a quarter or the end was reached since the last line, or half a minute has passed."""
        return done >= of or done * 4 // of != step.logged_done * 4 // of or now - step.logged >= LOG_SECONDS


def pace(done: int, left: int, seconds: float) -> str:
    """Return rate and time left as text, such as ``, 12 a minute, 3 min left``; empty if nothing is known.

    Args:
        done: items in ``seconds``.
        left: items still to do; 0: return the time taken instead.
    """
    if done <= 0 or seconds <= 0:
        return ""
    if left <= 0:
        return f" in {duration(seconds)}"
    per_minute = 60 * done / seconds
    rate = f"{_number(per_minute / 60)} a second" if per_minute >= 120 else f"{_number(per_minute)} a minute"
    return f", {rate}, {duration(seconds * left / done)} left"


def _number(value: float) -> str:
    """Return a number with two digits, or with all of its digits before the point."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def duration(seconds: float) -> str:
    """Return a duration as text in its largest unit: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


_log = ProgressLog()
