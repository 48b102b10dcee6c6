"""A run holds its experiment from its start to its end, between its rounds as well."""

import pytest

from cyclealign.config import load_config
from cyclealign.errors import ExperimentBusy, LeaseLost, StoreError
from cyclealign.loop import lease
from cyclealign.loop.align import align
from cyclealign.loop.ports import Ports
from cyclealign.records import Holder
from cyclealign.store import Store
from cyclealign.store.leases import LeaseStore


def holder() -> Holder | None:
    with Store.open() as store:
        return store.leases.holder("bench")


def test_no_second_run_gets_in_between_two_rounds_and_others_work_side_by_side(bench):
    """Prevents two schedules from taking turns with the rounds of one experiment."""
    seen = []

    def between(store, round_):
        if round_.number == 1 and not seen:
            seen.append(holder())
            with pytest.raises(ExperimentBusy) as busy:
                align(config, Ports(run_name=lambda: "the second"))
            seen.append(str(busy.value))
            assert align(config.model_copy(update={"experiment": "beside"})) == 1

    bench.set("acceptance", min_win_rate=0.0)
    config = load_config(bench.write())
    ports = Ports(run_name=lambda: "the first", publish=between)
    assert align(config.model_copy(update={"rounds": 2}), ports) == 2
    assert seen[0].run_name == "the first"
    assert "Run 'the first' (process" in seen[1]
    assert "experiment 'bench'" in seen[1]
    assert len(bench.rounds()) == 2
    assert holder() is None


def test_a_run_that_fails_frees_its_experiment(bench):
    """Prevents a rerun after an error from waiting for the lease of the run that failed."""
    bench.judge.status = lambda _: 401
    assert bench.run()[0] == 1
    assert holder() is None


def test_the_lease_is_renewed_after_an_error_of_the_database(store, monkeypatch):
    """Prevents a run that works on without a lease because the database was away for a moment."""
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.03)
    real, calls, renewed = LeaseStore.renew, [], lease.threading.Event()

    def renew(leases, experiment, owner, seconds):
        calls.append(seconds)
        if len(calls) == 1:
            raise StoreError("The database stopped answering.")
        real(leases, experiment, owner, seconds)
        renewed.set()

    monkeypatch.setattr(LeaseStore, "renew", renew)
    with lease.hold_experiment(store, "trial", lease.owner_name("run"), "run"):
        assert renewed.wait(30)
    assert store.leases.holder("trial") is None


def test_a_config_is_checked_once_the_experiment_is_held_and_not_beside_another_run(bench):
    """Prevents a start beside another run from asking the judge, or from failing where it would only be cancelled."""
    checked = []

    def between(store, round_):
        with pytest.raises(ExperimentBusy):
            align(config, ports)

    ports = Ports(check=lambda given, _: checked.append((given.experiment, holder() is not None)), publish=between)
    config = load_config(bench.write()).model_copy(update={"rounds": 2})
    align(config, ports)
    assert checked == [("bench", True)]


def test_a_run_that_stood_still_past_its_lease_sends_no_further_request(bench, monkeypatch):
    """Prevents a run that was stopped from paying for replies which its successor has had meanwhile."""
    clock, stood_still, asked = lease.clock, [0.0], []
    monkeypatch.setattr(lease, "clock", lambda: clock() + stood_still[0])
    script = bench.judge.script

    def taken_over(answers):
        asked.append(answers)
        if len(asked) == 2:
            bench.query("UPDATE round SET owner = 'another/1/1.00/run'")
            stood_still[0] = 2 * lease.LEASE_SECONDS
        return script(answers)

    bench.judge.script = taken_over
    bench.set("judge", concurrency=1)
    with pytest.raises(LeaseLost):
        align(load_config(bench.write()))
    assert len(asked) == 2
