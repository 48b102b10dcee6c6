"""Settings that may change while a round is open."""

import json
from typing import Any

import pytest

from cyclealign.config import (
    CHANGEABLE_MID_ROUND,
    FIXED_MID_ROUND,
    OF_THE_RUN,
    UNTIL_AGREED,
    UNTIL_EVALUATED,
    UNTIL_GENERATED,
    UNTIL_JUDGED,
    UNTIL_TRAINED,
    ExperimentConfig,
    checked,
    merge,
    mid_round_rules,
)

RULES = mid_round_rules(ExperimentConfig)
STAGES = ("generate", "judge", "agree", "train", "evaluate")
# Sections, and settings outside a section, whose settings may all change at any time.
CHANGEABLE_SECTIONS = {"acceptance", "budget", "engine"}
CHANGEABLE = {
    "demonstrations.gain_alpha",
    "demonstrations.max_chance",
    "demonstrations.max_false",
    "demonstrations.promotion",
    "demonstrations.max_kept",
    "demonstrations.min_gain",
    "health.min_accuracy",
    "health.min_injections_refused",
    "health.min_junk_refused",
    "health.min_position_consistency",
    "health.min_repetition_stability",
    "judge.api_key_block",
    "judge.api_key_variable",
    "judge.backoff_seconds",
    "judge.base_url",
    "judge.batch_max_outage_seconds",
    "judge.batch_poll_seconds",
    "judge.batch_search_seconds",
    "judge.batch_window_seconds",
    "judge.concurrency",
    "judge.delivery",
    "judge.extra_headers",
    "judge.max_busy_seconds",
    "judge.max_tokens",
    "judge.min_judged",
    "judge.prices",
    "judge.requests_per_minute",
    "judge.retries",
    "judge.share_replies",
    "judge.structured",
    "judge.timeout_seconds",
    "judge.tokens_per_minute",
    "judge.usd_per_million_cached_tokens",
    "judge.usd_per_million_completion_tokens",
    "judge.usd_per_million_prompt_tokens",
    "policy.batch_prompts",
    "policy.kind",
    "policy.max_truncated",
    "policy.trust_remote_code",
    "review.wait_minutes",
    "training.accelerate_config",
    "training.process",
}
FIXED_SECTIONS = {"prompts"}
# Those that render the prompts are used up: the prompts' token ids are stored.
RENDERING = {"policy.chat_template", "policy.chat_template_kwargs", "policy.system_prompt"}
FIXED = {
    *("policy.model", "policy.revision", "seed", "training.method", "evaluation.rotate_held_out"),
    *RENDERING,
}
# The rule of every other setting of a section.
OTHERS = {
    "policy": UNTIL_GENERATED,
    "judge": UNTIL_JUDGED,
    "health": UNTIL_JUDGED,
    "demonstrations": UNTIL_JUDGED,
    "templates": UNTIL_JUDGED,
    "agreement": UNTIL_AGREED,
    "training": UNTIL_TRAINED,
    "review": UNTIL_TRAINED,
    "evaluation": UNTIL_EVALUATED,
    "stop": OF_THE_RUN,
    "database": OF_THE_RUN,
    "experiment": OF_THE_RUN,
    "rounds": OF_THE_RUN,
    "until": OF_THE_RUN,
}


def expected_rule(setting: str) -> object:
    section = setting.partition(".")[0]
    if setting in CHANGEABLE or section in CHANGEABLE_SECTIONS:
        return CHANGEABLE_MID_ROUND
    return FIXED_MID_ROUND if setting in FIXED or section in FIXED_SECTIONS else OTHERS[section]


@pytest.mark.parametrize("setting", sorted(RULES))
def test_the_rule_of_each_setting(setting: str) -> None:
    """Prevents a marker that is lost, and one on a setting that the round's stored rows depend on."""
    assert RULES[setting] == expected_rule(setting)


def test_no_listed_setting_is_missing() -> None:
    """Prevents a list above that names settings which do not exist."""
    assert set(RULES) >= CHANGEABLE | FIXED


def changed(**sections: Any) -> ExperimentConfig:
    return checked(sections, "test")


OPENED = changed()
CURRENT = changed(
    rounds=7,
    seed=3,
    templates="other",
    policy={"temperature": 0.5, "max_truncated": 1.0},
    judge={"num_orders": 3, "retries": 1},
    agreement={"score": "pmi"},
    training={"learning_rate": 1e-3, "process": "same"},
    evaluation={"answers": 2},
    budget={"usd": 2.0},
)
UNLIKE = {
    *("seed", "policy.temperature", "judge.num_orders", "templates", "agreement.score", "training.learning_rate"),
    "evaluation.answers",
}
ALWAYS = {"policy.max_truncated", "judge.retries", "training.process", "budget.usd"}


@pytest.mark.parametrize(
    ("stages", "ignored"),
    [
        (0, {"seed"}),
        (1, {"seed", "policy.temperature"}),
        (2, {"seed", "policy.temperature", "judge.num_orders", "templates"}),
        (3, {"seed", "policy.temperature", "judge.num_orders", "templates", "agreement.score"}),
        (
            4,
            {
                "seed",
                "policy.temperature",
                "judge.num_orders",
                "templates",
                "agreement.score",
                "training.learning_rate",
            },
        ),
        (
            5,
            {
                "seed",
                "policy.temperature",
                "judge.num_orders",
                "templates",
                "agreement.score",
                "training.learning_rate",
                "evaluation.answers",
            },
        ),
    ],
)
def test_a_setting_is_taken_until_its_stage_has_rows_and_every_difference_is_named(
    stages: int, ignored: set[str]
) -> None:
    """Prevents a change that is ignored in silence, and one that no longer fits the round's rows."""
    merged = merge(OPENED, CURRENT, STAGES[:stages])
    assert {change.setting for change in merged.ignored} == ignored
    assert {change.setting for change in merged.applied} >= ALWAYS
    everything = {change.setting for change in (*merged.applied, *merged.ignored)}
    assert everything == ALWAYS | {
        *("seed", "policy.temperature", "judge.num_orders", "templates", "agreement.score", "training.learning_rate"),
        "evaluation.answers",
    }
    dumped = merged.settings.model_dump()
    for change in (*merged.applied, *merged.ignored):
        value: Any = dumped
        for part in change.setting.split("."):
            value = value[part]
        assert value == (change.opened if change.setting in ignored else change.current)
    assert merged.settings.rounds == 7


def test_equal_settings_differ_in_nothing() -> None:
    """Prevents a notice at every start, which nobody would read."""
    merged = merge(OPENED, changed(rounds=5, until=9, experiment="demo"), STAGES)
    assert (merged.applied, merged.ignored) == ((), ())


def test_the_marker_stays_out_of_the_form() -> None:
    """Prevents a form that fails to draw because its schema cannot be written as JSON."""
    assert type(CHANGEABLE_MID_ROUND).__name__ not in json.dumps(ExperimentConfig.model_json_schema())
