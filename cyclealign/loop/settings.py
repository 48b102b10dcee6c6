"""Settings of an open round: those that it was opened with, and those that may change meanwhile."""

from cyclealign.config import ExperimentConfig, stored_settings, with_current
from cyclealign.records import Round


def policy_settings(config: ExperimentConfig) -> tuple[object, ...]:
    """Return the settings that a loaded policy depends on."""
    training = config.training
    adapters = training.method, training.lora_rank, training.lora_targets, training.modules_to_save
    return config.policy, config.engine, adapters


def effective_settings(config: ExperimentConfig, round_: Round) -> ExperimentConfig:
    """Return the settings that the round was opened with, with the current values of those that may change mid-round.

    Args:
        config: the settings of the current run.
    """
    return with_current(
        stored_settings(round_.plan.settings, f"Round {round_.number} of '{round_.experiment}'"), config
    )
