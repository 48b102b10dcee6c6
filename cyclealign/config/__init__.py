"""Every setting, with a vetted default. Loads no heavy library; the same models draw the form in the Prefect UI."""

from cyclealign.config.experiment import AcceptanceSettings, EvaluationSettings, ExperimentConfig
from cyclealign.config.former_names import Formerly, note_former
from cyclealign.config.identity import ADDED_LATER, settings_identity
from cyclealign.config.judge import (
    BudgetSettings,
    DemonstrationSettings,
    HealthSettings,
    JudgeSettings,
    ReviewSettings,
)
from cyclealign.config.loading import checked, checked_settings, load_config, load_settings
from cyclealign.config.policy import EngineSettings, PolicySettings, PromptSettings, TrainingSettings
from cyclealign.config.section import Section

__all__ = [
    "ADDED_LATER",
    "AcceptanceSettings",
    "BudgetSettings",
    "DemonstrationSettings",
    "EngineSettings",
    "EvaluationSettings",
    "ExperimentConfig",
    "Formerly",
    "HealthSettings",
    "JudgeSettings",
    "PolicySettings",
    "PromptSettings",
    "ReviewSettings",
    "Section",
    "TrainingSettings",
    "checked",
    "checked_settings",
    "load_config",
    "load_settings",
    "note_former",
    "settings_identity",
]
