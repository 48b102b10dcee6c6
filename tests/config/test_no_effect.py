"""Settings without effect beside others are named once, so that none is ignored in silence."""

from typing import Annotated

import pytest
from pydantic import Field

from cyclealign.config import ExperimentConfig, NotWith, OnlyWith, Section, load_config, settings_without_effect
from cyclealign.config.former_names import models_of
from cyclealign.config.loading import setting_names
from cyclealign.config.no_effect import conditions
from cyclealign.distill.registry import JOBS
from tests.support.paths import ROOT


def sentences(**sections):
    return settings_without_effect(ExperimentConfig.model_validate(sections))


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({"judge": {"group_size": 5}}, 'judge.group_size has no effect with judge.method = "listwise".'),
        (
            {"judge": {"method": "adaptive", "num_orders": 4}},
            'judge.num_orders has no effect with judge.method = "adaptive".',
        ),
        ({"judge": {"max_orders": 6}}, 'judge.max_orders has no effect with judge.method = "listwise".'),
        (
            {"judge": {"model": "gpt-x", "position_bias": 0.2}},
            'judge.position_bias has no effect with judge.kind = "openai".',
        ),
        ({"judge": {"temperature": 0.7}}, 'judge.temperature has no effect with judge.kind = "simulated".'),
        (
            {"judge": {"batch_window_seconds": 9.0, "batch_poll_seconds": 9.0}},
            'judge.batch_window_seconds, judge.batch_poll_seconds have no effect with judge.delivery = "direct".',
        ),
        (
            {"judge": {"usd_per_million_cached_tokens": 1.0}},
            "judge.usd_per_million_cached_tokens has no effect without judge.usd_per_million_prompt_tokens or "
            "judge.usd_per_million_completion_tokens.",
        ),
        ({"health": {"lists": 0, "min_accuracy": 0.9}}, "health.min_accuracy has no effect with health.lists = 0."),
        (
            {"budget": {"scope": "round"}},
            "budget.scope has no effect without budget.usd or budget.tokens or budget.calls.",
        ),
        (
            {"demonstrations": {"dynamic": 4, "max_kept": 0}},
            "demonstrations.dynamic has no effect with demonstrations.max_kept = 0.",
        ),
        (
            {"training": {"objective": "dpo", "sft_weight": 1.0}},
            'training.sft_weight has no effect with training.objective = "dpo".',
        ),
        ({"training": {"dpo_beta": 0.3}}, 'training.beta has no effect with training.objective = "rrhf".'),
        (
            {"training": {"sft_weight": 0.0, "sft_reduction": "mean"}},
            "training.sft_reduction has no effect with training.sft_weight = 0.0.",
        ),
        (
            {"training": {"objective": "ipo", "gamma": 2.0, "kl_weight": 0.1}},
            'training.gamma has no effect with training.objective = "ipo".',
        ),
        (
            {"training": {"method": "full", "lora_rank": 8, "lora_alpha": 16}},
            'training.lora_rank, training.lora_alpha have no effect with training.method = "full".',
        ),
        (
            {"training": {"process": "same", "accelerate_config": "a.yaml"}},
            'training.accelerate_config has no effect with training.process = "same".',
        ),
        ({"acceptance": {"alpha": 0.01}}, 'acceptance.alpha has no effect with acceptance.rule = "mean".'),
        (
            {"acceptance": {"rule": "e_value", "min_win_rate": 0.6}},
            'acceptance.min_win_rate has no effect with acceptance.rule = "e_value".',
        ),
        ({"engine": {"port": 8000}}, 'engine.port has no effect with policy.kind = "transformers".'),
        (
            {"policy": {"kind": "vllm"}, "engine": {"base_url": "http://a/v1", "port": 8000}},
            'engine.port has no effect with engine.base_url = "http://a/v1".',
        ),
        (
            {"policy": {"kind": "vllm"}, "engine": {"served_model": "m"}},
            "engine.served_model has no effect without engine.base_url.",
        ),
        ({"review": {"wait_minutes": 5}}, "review.wait_minutes has no effect with review.lists = 0."),
    ],
)
def test_a_setting_without_effect_is_named_with_the_reason(sections, sentence):
    """Prevents a setting that a user chose and the run ignores without a word."""
    assert sentences(**sections) == [sentence]


def test_pro_says_which_effect_of_the_minimum_preference_is_left():
    """Prevents a user of PRO from believing that uncertain pairs are left out of the loss."""
    (sentence,) = sentences(training={"objective": "pro", "min_preference": 0.9})
    assert sentence.startswith('training.min_preference has no effect with training.objective = "pro": it learns whole')


def test_a_revision_of_a_folder_is_named(tmp_path):
    """Prevents the belief that a folder is pinned to a commit."""
    assert sentences(policy={"model": "some/model", "revision": "abc"}) == []
    (folder,) = sentences(policy={"model": str(tmp_path), "revision": "abc"})
    assert folder == f'policy.revision has no effect with policy.model = "{tmp_path}".'


def test_defaults_and_settings_in_use_are_not_named():
    """Prevents a notice at each start that nobody can act on."""
    assert sentences() == []
    assert sentences(judge={"method": "tournament", "group_size": 5, "max_orders": 6}) == []


def test_a_form_that_sends_every_setting_is_told_only_of_the_changed_ones():
    """Prevents a run from the UI that starts with forty notices, or with none."""
    sent = ExperimentConfig().model_dump()
    assert sentences(**sent) == []
    sent["judge"]["group_size"] = 7
    assert sentences(**sent) == ['judge.group_size has no effect with judge.method = "listwise".']


EXAMPLES = [
    path for path in sorted((ROOT / "flows" / "configs").glob("*.toml")) if path.stem.partition("-demo")[0] not in JOBS
]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_no_example_sets_anything_in_vain(path):
    assert settings_without_effect(load_config(path)) == []


def marked(model, prefix=""):
    for name, field in model.model_fields.items():
        yield from ((f"{prefix}{name}", mark) for mark in conditions(field))
        for section in models_of(field.annotation):
            yield from marked(section, f"{prefix}{name}.")


def test_every_mark_names_a_setting_that_exists():
    """Prevents a mark that fails at the start of a run, after a setting was renamed."""
    known = set(setting_names(ExperimentConfig))
    for _, mark in marked(ExperimentConfig):
        assert set(getattr(mark, "settings", None) or [mark.setting]) <= known


class Inner(Section):
    rate: Annotated[float, NotWith("mode", "off"), OnlyWith("mode", "fast")] = 1.0
    label: str = Field("x")


class Outer(Section):
    mode: str = "off"
    inner: Annotated[Inner, NotWith("mode", "none")] = Inner()


def test_a_setting_has_one_reason_and_a_section_passes_its_own_on():
    """Prevents the same setting from being named twice, and a marked section from hiding what was set in it."""
    assert settings_without_effect(Outer.model_validate({"inner": {"rate": 2.0}})) == [
        'inner.rate has no effect with mode = "off".'
    ]
    assert settings_without_effect(Outer.model_validate({"mode": "none", "inner": {"rate": 2.0, "label": "y"}})) == [
        'inner.rate, inner.label have no effect with mode = "none".'
    ]
