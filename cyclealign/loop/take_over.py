"""Take over the answers of an abandoned round: the round after it draws the same prompts again.

The copies are shown to the judge under their first ids, so that its requests are the same and their replies stored.
"""

import logging

from cyclealign.config import UNTIL_GENERATED, ExperimentConfig, mid_round_rules
from cyclealign.loop.session import RoundSession
from cyclealign.loop.settings import opened_settings
from cyclealign.policy import candidate_id
from cyclealign.records import Round

logger = logging.getLogger(__name__)

NUMBERS_OF_ANSWERS = ("policy.answers", "policy.top_up")
RENDERING = ("policy.system_prompt", "policy.chat_template", "policy.chat_template_kwargs")


def round_origin(round_: Round) -> list[object]:
    """Return the values that the ids of the round's candidates are made from."""
    return ["round", round_.lineage, round_.number, round_.plan.seed]


def take_over_answers(session: RoundSession, round_: Round) -> int:
    """Copy the answers that abandoned rounds gave to prompts without answers in this one; return their number.

    Only those of the same weights, to the same token ids of the prompt, with the same sampling settings: others would
    not be this round's policy's.
    """
    prompts = {prompt.id: prompt for prompt in session.store.candidates.unanswered_prompts(round_.id)}
    copied = 0
    for earlier in session.store.rounds.repeated(round_) if prompts else []:
        if not same_sampling(session.config, round_, earlier):
            continue
        rendered = {prompt.id: prompt.token_ids for prompt in earlier.plan.prompts}
        same_ids = [prompt.id for prompt in round_.plan.prompts if rendered.get(prompt.id) == prompt.token_ids]
        rows = session.store.candidates.by_prompt(earlier.id, [each for each in same_ids if each in prompts])
        new_ids = {
            answer.id: candidate_id(prompts[prompt_id], round_origin(round_), round_.parent, answer.position)
            for prompt_id, row in rows.items()
            for answer in row
        }
        session.store.candidates.take_over(round_.id, new_ids)
        copied += len(new_ids)
        prompts = {prompt_id: prompt for prompt_id, prompt in prompts.items() if prompt_id not in rows}
    if copied:
        logger.info("Round %d of '%s': took over %d answers.", round_.number, round_.experiment, copied)
    return copied


def same_sampling(config: ExperimentConfig, round_: Round, earlier: Round) -> bool:
    """Return whether an earlier round's answers were sampled from the same weights, with the settings of this round.

    Args:
        config: the settings of this round.
    """
    if earlier.plan.base_model != round_.plan.base_model or earlier.parent != round_.parent:
        return False
    return sampling_settings(opened_settings(earlier)) == sampling_settings(config)


def sampling_settings(config: ExperimentConfig) -> dict[str, object]:
    """Return the settings on which answers depend, by dotted name."""
    dumped = config.model_dump(mode="json")
    names = [name for name, rule in mid_round_rules(ExperimentConfig).items() if rule == UNTIL_GENERATED]
    return {name: _value(dumped, name) for name in names}


def answer_settings(config: ExperimentConfig) -> dict[str, object]:
    """Return the settings on which a single answer to a prompt depends, by dotted name."""
    dumped = config.model_dump(mode="json")
    sampling = {name: value for name, value in sampling_settings(config).items() if name not in NUMBERS_OF_ANSWERS}
    return {**sampling, **{name: _value(dumped, name) for name in RENDERING}}


def _value(dumped: dict[str, object], name: str) -> object:
    value: object = dumped
    for part in name.split("."):
        value = value[part] if isinstance(value, dict) else value
    return value
