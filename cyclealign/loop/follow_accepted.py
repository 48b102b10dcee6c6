"""Keep a server on the weights of an experiment's last accepted round."""

import logging
from collections.abc import Callable
from typing import Protocol

from cyclealign.errors import DatabaseAway, PolicyError
from cyclealign.records import Adapter
from cyclealign.store import Store

logger = logging.getLogger(__name__)


class Shows(Protocol):
    """A server that serves one set of weights at a time."""

    def show(self, weights: Adapter) -> None: ...

    def require_running(self) -> None: ...


def follow_accepted(
    store: Store,
    experiment: str,
    server: Shows,
    verify: Callable[[Adapter], None],
    wait: Callable[[], None],
    switched: Callable[[int], None],
) -> None:
    """Show the weights of the last accepted round, and those of each later one, until ``wait`` raises.

    Weights that are missing or changed on disk are not shown: the served ones stay, and a warning names the cause.
    While the database does not answer, they stay as well.

    Args:
        verify: raises PolicyError unless the weights on disk are the recorded ones.
        wait: waits until the database is to be asked again.
        switched: called with the number of the round after its weights were shown.

    Raises:
        EngineFailed: the server has exited or does not start.
        WrongWeights: it serves other weights than those that it was given.
    """
    shown: str | None = None
    refused: str | None = None
    while True:
        server.require_running()
        try:
            number, weights = store.rounds.last_accepted(experiment)
        except DatabaseAway as error:
            logger.warning("The database does not answer; the served weights stay. %s", error)
            weights = None
        if weights is not None and weights.content_hash not in (shown, refused):
            try:
                verify(weights)
            except PolicyError as error:
                if shown is None:
                    raise
                refused = weights.content_hash
                logger.warning("Round %d was accepted, and its weights are not served. %s", number, error)
            else:
                server.show(weights)
                shown = weights.content_hash
                switched(number)
        wait()
