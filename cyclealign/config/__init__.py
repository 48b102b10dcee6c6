"""All settings of an experiment, with vetted defaults; the form in the Prefect UI is made from the same models."""

from cyclealign.config.agreement import AgreementSettings, ScoreName
from cyclealign.config.database import DatabaseSettings
from cyclealign.config.demonstrations import DemonstrationSettings
from cyclealign.config.evaluation import AcceptanceSettings, EvaluationSettings
from cyclealign.config.experiment import ExperimentConfig
from cyclealign.config.former_names import Formerly, note_former
from cyclealign.config.identity import ADDED_LATER, settings_identity
from cyclealign.config.judge import BudgetSettings, HealthSettings, JudgeSettings
from cyclealign.config.loading import checked, checked_settings, load_config, load_settings, stored_settings
from cyclealign.config.mid_round import (
    CHANGEABLE_MID_ROUND,
    FIXED_MID_ROUND,
    OF_THE_RUN,
    UNTIL_AGREED,
    UNTIL_EVALUATED,
    UNTIL_GENERATED,
    UNTIL_JUDGED,
    UNTIL_TRAINED,
    Difference,
    Merged,
    MidRound,
    merge,
    mid_round_rules,
)
from cyclealign.config.no_effect import NotWith, OnlyWith, WithAnyOf, settings_without_effect
from cyclealign.config.policy import EngineSettings, PolicySettings
from cyclealign.config.prompts import PromptSettings
from cyclealign.config.review import ReviewSettings
from cyclealign.config.section import Section
from cyclealign.config.stop import StopSettings
from cyclealign.config.training import TrainingSettings

__all__ = [
    "ADDED_LATER",
    "CHANGEABLE_MID_ROUND",
    "FIXED_MID_ROUND",
    "OF_THE_RUN",
    "UNTIL_AGREED",
    "UNTIL_EVALUATED",
    "UNTIL_GENERATED",
    "UNTIL_JUDGED",
    "UNTIL_TRAINED",
    "AcceptanceSettings",
    "AgreementSettings",
    "BudgetSettings",
    "DatabaseSettings",
    "DemonstrationSettings",
    "Difference",
    "EngineSettings",
    "EvaluationSettings",
    "ExperimentConfig",
    "Formerly",
    "HealthSettings",
    "JudgeSettings",
    "Merged",
    "MidRound",
    "NotWith",
    "OnlyWith",
    "PolicySettings",
    "PromptSettings",
    "ReviewSettings",
    "ScoreName",
    "Section",
    "StopSettings",
    "TrainingSettings",
    "WithAnyOf",
    "checked",
    "checked_settings",
    "load_config",
    "load_settings",
    "merge",
    "mid_round_rules",
    "note_former",
    "settings_identity",
    "settings_without_effect",
    "stored_settings",
]
