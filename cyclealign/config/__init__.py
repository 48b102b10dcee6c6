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
from cyclealign.config.mid_round import CHANGEABLE_MID_ROUND, changeable_settings, with_current
from cyclealign.config.policy import EngineSettings, PolicySettings, PromptSettings, TrainingSettings
from cyclealign.config.section import Section

__all__ = [
    "ADDED_LATER",
    "CHANGEABLE_MID_ROUND",
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
    "changeable_settings",
    "checked",
    "checked_settings",
    "load_config",
    "load_settings",
    "note_former",
    "settings_identity",
    "with_current",
]
