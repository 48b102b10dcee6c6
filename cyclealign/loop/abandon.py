"""Give up the open round of an experiment, and keep everything that was paid for."""

from cyclealign.errors import StoreError
from cyclealign.loop.lease import LEASE_SECONDS, hold_experiment, may_be_alive, owner_name
from cyclealign.loop.ports import Ports
from cyclealign.records import Round
from cyclealign.store import Store

DEFAULT_REASON = "given up on request"


def abandon(experiment: str, reason: str = "", ports: Ports | None = None) -> Round:
    """Close the open round of an experiment as abandoned; return it.

    Its prompts count as unused again. The next round draws the same ones, takes over the answers that were sampled in
    the same way, and finds the judge's replies to the same requests.

    Raises:
        NoSuchExperiment: there is no such experiment.
        StoreError: it has no open round.
        ExperimentBusy: a run is advancing the experiment.
    """
    ports = ports or Ports()
    with Store.open() as store:
        owner = owner_name(ports.run_id())
        store.experiments.require(experiment)
        with hold_experiment(store, experiment, owner, ports.run_name()):
            round_ = store.rounds.unfinished(experiment)
            if round_ is None:
                raise StoreError(f"Experiment '{experiment}' has no open round, so there is nothing to give up.")
            store.rounds.take_over(round_.id, owner, LEASE_SECONDS, may_be_alive)
            store.rounds.close(round_.id, owner, "abandoned", reason.strip() or DEFAULT_REASON)
            store.leases.forget_failures(experiment)
        ports.publish(store, round_)
        return round_


def summary(round_: Round) -> str:
    """Return the result of abandoning a round in a sentence or two."""
    return (
        f"Round {round_.number} of '{round_.experiment}' is abandoned. Its answers and the judge's replies are kept: "
        "the next round draws the same prompts and uses those again whose settings are the same."
    )
