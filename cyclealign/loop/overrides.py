"""What a round is put to another judge with: its settings and its plan, with what was named changed."""

from dataclasses import replace
from pathlib import Path

from cyclealign.config import ExperimentConfig, JudgeSettings, checked, load_config
from cyclealign.errors import BadConfig
from cyclealign.judge.comparison import Overrides
from cyclealign.judge.templates import load_template
from cyclealign.loop.backends import backend_of
from cyclealign.records import Round, RoundPlan

PRICES = ("prompt", "cached", "completion")


def settings_for(round_: Round, change: Overrides) -> ExperimentConfig:
    """The round's settings with another judge.

    Raises:
        BadConfig: a setting is wrong, the judge is another one under the old name, or a key would go to another host.
    """
    opened = checked(round_.plan.settings, f"settings of round {round_.number}")
    config = opened if change.config is None else with_sections_of(change.config, opened)
    judge = {**config.judge.model_dump(), **judge_for(config.judge, change)}
    made = checked({**config.model_dump(), "judge": judge}, "command line")
    refuse_a_namesake(opened.judge, made.judge)
    if change.key_variable is None:
        refuse_the_key_elsewhere(config.judge, made.judge)
    return made


def with_sections_of(file: Path, config: ExperimentConfig) -> ExperimentConfig:
    """The settings with the judge and the budget of a file, each if it is in there."""
    given = load_config(file)
    sections = {"judge", "budget"} & given.model_fields_set
    if not sections:
        raise BadConfig(f"{file}: there is no section [judge] and no [budget] in it, and no other counts here.")
    return config.model_copy(update={name: getattr(given, name) for name in sections})


def judge_for(judge: JudgeSettings, change: Overrides) -> dict[str, str | None]:
    """What differs in the judge's settings; another model has another price, and is none of the simulated one."""
    found: dict[str, str | None] = {}
    if change.judge or change.base_url:
        found["kind"] = "openai"
    if change.base_url:
        found["base_url"] = change.base_url
    if change.key_variable:
        found |= {"api_key_variable": change.key_variable, "api_key_block": None}
    if change.judge and change.judge != judge.model:
        found |= {"model": change.judge, **{f"usd_per_million_{each}_tokens": None for each in PRICES}}
    return found


def refuse_a_namesake(old: JudgeSettings, new: JudgeSettings) -> None:
    """Another judge under the old one's name would never be asked: the old one's replies would be recalled."""
    if new.model == old.model and backend_of(new).identity != backend_of(old).identity:
        raise BadConfig(
            f"This is another judge than the round's, and both are called '{new.model}'. Replies are known by the "
            "model's name; give the other judge a name of its own with --judge."
        )


def refuse_the_key_elsewhere(old: JudgeSettings, new: JudgeSettings) -> None:
    """A key is sent only where its owner said that it may go."""
    backend = backend_of(new)
    if backend.key_host not in (None, backend_of(old).key_host):
        raise BadConfig(
            f"The key in {new.api_key_variable} was not meant for {backend.location}. Name the variable that holds the "
            "key for that address with --key-variable NAME."
        )


def plan_for(plan: RoundPlan, change: Overrides) -> RoundPlan:
    """The round's plan with another template, and without demonstrations that are not wanted."""
    if change.template is not None:
        templates = tuple(load_template(change.template, each.name) for each in plan.templates)
        plan = replace(plan, templates=templates)
    if change.demonstrations is not None:
        static = tuple(each for each in plan.demonstrations if each.kind == "static")
        plan = replace(plan, demonstrations=() if change.demonstrations == "none" else static)
    return plan
