"""Record the figures of training steps while the training runs."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cyclealign.loop.session import RoundSession
from cyclealign.records import Round, TrainingStep

SECONDS_BETWEEN_WRITES = 2.0  # steps of a small model take milliseconds


@contextmanager
def recorded_steps(session: RoundSession, round_: Round) -> Iterator[Callable[[TrainingStep], None]]:
    """Yield a function that records the figures of a step, written together every few seconds and at the end.

    Raises:
        LeaseLost: another run took the round over.
    """
    waiting: list[TrainingStep] = []
    written_at = time.monotonic()

    def write() -> None:
        nonlocal written_at
        session.store.training_steps.record(round_.id, session.owner, waiting)
        waiting.clear()
        written_at = time.monotonic()

    def on_step(step: TrainingStep) -> None:
        waiting.append(step)
        if time.monotonic() - written_at > SECONDS_BETWEEN_WRITES:
            write()

    try:
        yield on_step
    finally:
        write()  # of a training that failed, too
