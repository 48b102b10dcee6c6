"""How far a run is: told to whoever listens (the terminal's bars), and to the log of the run."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OnProgress = Callable[[int, int], None]  # called with the number done and the total
Listener = Callable[[str, int, int], None]

logger = logging.getLogger("cyclealign.progress")
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Hear of every step while the block runs: (what, done, of); a heading comes with 0 of 0."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def announce(heading: str) -> None:
    """Report that something larger begins."""
    for listener in _listeners:
        listener(heading, 0, 0)
    logger.info("%s", heading)


def tell(what: str, done: int, of: int) -> None:
    """Report progress; the log gets the start, each quarter and the end."""
    for listener in _listeners:
        listener(what, done, of)
    if done == 0 or done == of or done * 4 // of != (done - 1) * 4 // of:
        logger.info("%s: %d of %d", what, done, of)
