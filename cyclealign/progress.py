"""Progress of a run: sent to listeners, such as the terminal's bars, and to the run's log."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OnProgress = Callable[[int, int], None]  # called with the number done and the total
Listener = Callable[[str, int, int], None]

logger = logging.getLogger("cyclealign.progress")
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
    """Report progress of a step; the log gets its start, each quarter and its end."""
    for listener in _listeners:
        listener(what, done, of)
    if done == 0 or done == of or done * 4 // of != (done - 1) * 4 // of:
        logger.info("%s: %d of %d", what, done, of)
