"""An experiment is held by one run at a time, also between two rounds; failed runs are counted."""

import pytest

from cyclealign.errors import LeaseLost
from cyclealign.records import Holder
from cyclealign.store import Store
from tests.store.test_rounds import at_once

EXPIRED = -1.0


def take(store: Store, owner: str, seconds: float = 600, alive: bool = True) -> Holder | None:
    return store.leases.take("trial", owner, f"run of {owner}", seconds, lambda _: alive)


def test_only_one_of_many_takes_an_experiment(store: Store) -> None:
    """Two runs that hold one experiment would take turns with its rounds, each from the other's adapter."""
    results = at_once(lambda place: take(store, f"owner {place}"), 6)
    assert results.count(None) == 1
    holder = store.leases.holder("trial")
    assert [result for result in results if result is not None] == [holder] * 5
    assert holder is not None
    assert holder.run_name == f"run of {holder.owner}"


def test_another_experiment_is_free(store: Store) -> None:
    assert take(store, "me") is None
    assert store.leases.take("other", "you", "run", 600, lambda _: True) is None


@pytest.mark.parametrize(("seconds", "alive"), [(EXPIRED, True), (600.0, False)], ids=["expired", "dead"])
def test_a_free_experiment_is_taken_over_and_its_former_holder_notices(
    store: Store, seconds: float, alive: bool
) -> None:
    """A killed run would hold its experiment for ever; a frozen one would go on beside its successor."""
    take(store, "first", seconds)
    assert take(store, "second", alive=alive) is None
    with pytest.raises(LeaseLost, match="trial"):
        store.leases.renew("trial", "first", 600)
    holder = store.leases.holder("trial")
    assert holder is not None
    assert holder.owner == "second"


def test_a_stale_report_of_death_takes_nothing(store: Store) -> None:
    """Between asking whether the holder lives and taking its lease, a third run may have taken it."""
    take(store, "dying")

    def dies_as_another_takes(_: str) -> bool:
        take(store, "quicker", alive=False)
        return False

    busy = store.leases.take("trial", "me", "run", 600, dies_as_another_takes)
    assert busy is not None
    assert busy.owner == "quicker"


def test_a_released_experiment_is_free_at_once(store: Store) -> None:
    take(store, "first")
    store.leases.renew("trial", "first", 0)
    assert store.leases.holder("trial") is None
    assert take(store, "second") is None


def test_failures_are_counted_across_runs_until_a_round_is_closed(store: Store) -> None:
    """Each run of a schedule would count from one, and no limit would ever be reached."""
    assert store.leases.failures("trial") == (0, "")
    for count, owner in enumerate(("first", "second"), 1):
        take(store, owner)
        assert store.leases.add_failure("trial", owner, f"error of {owner}") == count
        store.leases.renew("trial", owner, 0)
    assert store.leases.failures("trial") == (2, "error of second")
    store.leases.forget_failures("trial")
    assert store.leases.failures("trial") == (0, "")
