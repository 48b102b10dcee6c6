"""The settings and the plan of a round with the overrides of `cyclealign rejudge` applied."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from cyclealign.config import ExperimentConfig, JudgeSettings, checked, load_config, stored_settings
from cyclealign.errors import BadConfig
from cyclealign.judge.comparison import Overrides
from cyclealign.judge.templates import load_template
from cyclealign.loop.backends import backend_of
from cyclealign.records import Round, RoundPlan

PRICES = ("prompt", "cached", "completion")


def settings_for(round_: Round, change: Overrides) -> ExperimentConfig:
    """Return the round's settings with the overrides.

    Raises:
        BadConfig: a setting is invalid, another judge has the former one's name, or a key would go to another host.
    """
    opened = stored_settings(round_.plan.settings, f"settings of round {round_.number}")
    config = opened if change.config is None else with_sections_of(change.config, opened)
    judge = {**config.judge.model_dump(), **judge_for(config.judge, change)}
    new = checked({**config.model_dump(), "judge": judge}, "command line")
    require_distinct_name(opened.judge, new.judge)
    if change.key_variable is None:
        require_key_for_host(config.judge, new.judge)
    return new


def with_sections_of(file: Path, config: ExperimentConfig) -> ExperimentConfig:
    """Return the settings with the sections [judge] and [budget] of a file, where it has them.

    Raises:
        BadConfig: it has neither.
    """
    given = load_config(file)
    sections = {"judge", "budget"} & given.model_fields_set
    if not sections:
        raise BadConfig(f"{file}: it has neither a section [judge] nor [budget]; other sections have no effect here.")
    return config.model_copy(update={name: getattr(given, name) for name in sections})


def judge_for(judge: JudgeSettings, change: Overrides) -> dict[str, object]:
    """Return the changed judge settings.

    The former model's prices do not apply to another model, nor further headers, which may hold a secret, and further
    parameters to another host.
    """
    changes: dict[str, object] = {}
    if change.judge or change.base_url:
        changes["kind"] = "openai"
    if change.base_url:
        changes["base_url"] = change.base_url
        if urlsplit(change.base_url)[:2] != urlsplit(judge.base_url or "")[:2]:
            changes |= {"extra_headers": {}, "extra_body": {}}
    if change.key_variable:
        changes |= {"api_key_variable": change.key_variable, "api_key_block": None}
    if change.judge and change.judge != judge.model:
        changes |= {"model": change.judge, **{f"usd_per_million_{kind}_tokens": None for kind in PRICES}}
    return changes


def require_distinct_name(old: JudgeSettings, new: JudgeSettings) -> None:
    """Raise BadConfig if another judge has the former one's name: the former one's stored replies would be used."""
    if new.model == old.model and backend_of(new).identity != backend_of(old).identity:
        raise BadConfig(
            f"This is another judge than the round's, and both are called '{new.model}'. Replies are known by the "
            "model's name; give the other judge a name of its own with --judge."
        )


def require_key_for_host(old: JudgeSettings, new: JudgeSettings) -> None:
    """Raise BadConfig if the key would go to a host that it was not configured for."""
    backend = backend_of(new)
    if backend.key_host not in (None, backend_of(old).key_host):
        raise BadConfig(
            f"The key in {new.api_key_variable} was not configured for {backend.location}. Name the variable with "
            "the key for that address by --key-variable NAME."
        )


def plan_for(plan: RoundPlan, change: Overrides) -> RoundPlan:
    """Return the round's plan with the overridden template and demonstrations."""
    if change.template is not None:
        templates = tuple(load_template(change.template, version.name) for version in plan.templates)
        plan = replace(plan, templates=templates)
    if change.demonstrations is not None:
        static = tuple(demonstration for demonstration in plan.demonstrations if demonstration.kind == "static")
        plan = replace(plan, demonstrations=() if change.demonstrations == "none" else static)
    return plan
