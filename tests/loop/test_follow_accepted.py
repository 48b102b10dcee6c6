"""A server follows the accepted rounds: only those, each once, and never weights that were changed."""

import pytest

from cyclealign.errors import EngineFailed, PolicyError
from cyclealign.loop.follow_accepted import follow_accepted
from cyclealign.records import Adapter
from tests.support.store_values import adapter_for, opened


class Server:
    """Notes what it is shown; ``ended`` as if the process had exited."""

    def __init__(self):
        self.shown, self.ended = [], False

    def show(self, weights):
        self.shown.append(weights.id)

    def require_running(self):
        if self.ended:
            raise EngineFailed("vLLM exited")


def close(store, verdict, content_hash):
    round_ = opened(store)
    made = adapter_for(round_)
    store.adapters.add(round_.id, Adapter(made.id, made.path, content_hash, made.parent_id), "a-model")
    store.rounds.close(round_.id, "me", verdict, "")


def verified(weights):
    if weights.content_hash == "changed":
        raise PolicyError("not those that were recorded")


def follow(store, server, *between):
    """Follow the experiment; call one of ``between`` at each wait, then end as by Ctrl-C."""
    steps, numbers = iter(between), []

    def wait():
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    with pytest.raises(KeyboardInterrupt):
        follow_accepted(store, "trial", server, verified, wait, numbers.append)
    return numbers


def test_a_newly_accepted_round_is_shown_once_and_others_never(store):
    """Prevents a server that stays on old weights, serves rolled-back ones, or reloads at every look."""
    close(store, "accepted", "first")
    server = Server()
    steps = [
        lambda: None,
        lambda: close(store, "rolled_back", "second"),
        lambda: close(store, "accepted", "third"),
        lambda: None,
    ]
    assert follow(store, server, *steps) == [1, 3]
    assert server.shown == ["adapter-trial-1", "adapter-trial-3"]


def test_changed_weights_are_not_shown_and_the_served_ones_stay(store, caplog):
    """Prevents the end of a service because one folder was lost."""
    close(store, "accepted", "first")
    server = Server()
    steps = [lambda: close(store, "accepted", "changed"), lambda: None, lambda: close(store, "accepted", "third")]
    assert follow(store, server, *steps) == [1, 3]
    assert caplog.text.count("are not served") == 1


def test_a_server_that_has_exited_ends_the_service(store):
    """Prevents a command that waits beside a dead server."""
    close(store, "accepted", "first")
    server = Server()

    def wait():
        server.ended = True

    with pytest.raises(EngineFailed):
        follow_accepted(store, "trial", server, verified, wait, lambda number: None)
