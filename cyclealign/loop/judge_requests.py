"""Build the ranking requests of a round: template, method, demonstrations and answers."""

from collections.abc import Iterable, Mapping, Sequence

from cyclealign import judge as judging
from cyclealign.chat_api.client import parameters_of
from cyclealign.chat_api.scheduler import Asker
from cyclealign.config import JudgeSettings
from cyclealign.judge import adversarial, demonstrations
from cyclealign.loop.session import Job, Workshop
from cyclealign.policy import distinct
from cyclealign.records import (
    CallPurpose,
    Candidate,
    Demonstration,
    Flag,
    Prompt,
    Round,
    seed_from,
)


def manner_of(shop: Workshop, round_: Round, *seed: object) -> judging.Manner:
    """How this round asks its judge."""
    judge = shop.config.judge
    template = next(each for each in round_.plan.templates if each.name == "rank")
    return judging.Manner(
        template, judge.model, parameters_of(judge), seed_from(round_.plan.seed, *seed), judge.reasons
    )


def way_of(judge: JudgeSettings) -> judging.Way:
    """How the settings want a list ranked."""
    return judging.Way(
        judge.method,
        judge.num_orders,
        judge.max_orders,
        judge.stop_at_tau,
        judge.group_size,
        judge.calls_per_answer,
    )


def question_of(
    shop: Workshop,
    manner: judging.Manner,
    purpose: CallPurpose,
    subject_id: str,
    text: str,
    answers: Mapping[str, str],
    pool: Sequence[Demonstration],
) -> judging.Question:
    """One list to rank, with the demonstrations that the settings choose from the pool."""
    settings = shop.config.demonstrations
    shown = demonstrations.choose(pool, text, settings.static, settings.dynamic, settings.selection)
    return judging.Question(manner, purpose, subject_id, text, answers, shown)


def flags_of(answers: Iterable[Candidate]) -> list[Flag]:
    """The answers that look as if they were meant to sway the judge."""
    return [Flag(each.id, kind, words) for each in answers for kind, words in adversarial.signs(each.text).items()]


def ranking_job(shop: Workshop, round_: Round, prompt: Prompt, answers: Sequence[Candidate]) -> Job[judging.Judgement]:
    """The judging of one prompt's answers."""
    manner = manner_of(shop, round_, round_.number, "judge")
    texts = {each.id: each.text for each in answers}

    async def job(asker: Asker) -> judging.Judgement:
        question = question_of(shop, manner, "rank", prompt.id, prompt.text, texts, round_.plan.demonstrations)
        return await judging.rank(asker, question, way_of(shop.config.judge))

    return job


def rankable(shop: Workshop, round_: Round, prompt_ids: Sequence[str] | None = None) -> dict[str, list[Candidate]]:
    """The distinct answers of each prompt (or of those named) that was not set aside and has at least two of them.

    Of more than policy.answers the first: equal answers are drawn again by whole draws.
    """
    aside = shop.store.prompts.set_aside_reasons(round_.id)
    rows = {
        prompt_id: distinct(row)[: shop.config.policy.answers]
        for prompt_id, row in shop.store.candidates.by_prompt(round_.id, prompt_ids).items()
        if prompt_id not in aside
    }
    return {prompt_id: row for prompt_id, row in rows.items() if len(row) >= 2}
