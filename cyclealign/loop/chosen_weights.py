"""The weights of an experiment to use outside the loop: those of its last accepted round, or of a named one."""

from dataclasses import dataclass

from cyclealign.config import ExperimentConfig, stored_settings
from cyclealign.errors import BadConfig
from cyclealign.records import Adapter, Round
from cyclealign.store import Store


@dataclass(frozen=True)
class ChosenWeights:
    """Trained weights, the round that they belong to, and the settings of that round."""

    round: Round
    adapter: Adapter
    config: ExperimentConfig


def chosen_weights(store: Store, experiment: str, number: int | None = None) -> ChosenWeights:
    """Return the weights of a round.

    Args:
        number: of the round, whatever its verdict; None: the last round that was accepted.

    Raises:
        NoSuchExperiment: there is no such experiment or round.
        BadConfig: no round was accepted yet, or the round has no weights of its own.
    """
    store.experiments.require(experiment)
    if number is not None:
        return _of_round(store, store.rounds.get(experiment, number))
    last, adapter = store.rounds.last_accepted(experiment)
    if adapter is None:
        raise BadConfig(
            f"No round of '{experiment}' was accepted with trained weights, so that its policy is still the base "
            "model. Run further rounds, or name a round with --round N."
        )
    round_ = store.rounds.get(experiment, last)
    return ChosenWeights(round_, adapter, _settings(round_))


def _of_round(store: Store, round_: Round) -> ChosenWeights:
    adapter = store.adapters.of_round(round_.id)
    if adapter is None:
        raise BadConfig(
            f"Round {round_.number} of '{round_.experiment}' has trained no weights. Name another round, or leave out "
            "--round for the last one that was accepted."
        )
    return ChosenWeights(round_, adapter, _settings(round_))


def _settings(round_: Round) -> ExperimentConfig:
    return stored_settings(round_.plan.settings, f"Round {round_.number} of '{round_.experiment}'")
