"""Build the ranking requests of a round: template, method, demonstrations and answers."""

from collections.abc import Iterable, Mapping, Sequence

from cyclealign.chat_api.client import request_parameters
from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.config import JudgeSettings
from cyclealign.judge import adversarial, demonstrations
from cyclealign.judge.methods import Judgement, RankingMethod, rank
from cyclealign.judge.requests import PromptSpec, RankingTask
from cyclealign.loop.session import Job, RoundSession
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


def prompt_spec(session: RoundSession, round_: Round, *seed: object) -> PromptSpec:
    """How this round asks its judge."""
    judge = session.config.judge
    template = next(each for each in round_.plan.templates if each.name == "rank")
    return PromptSpec(
        template, judge.model, request_parameters(judge), seed_from(round_.plan.seed, *seed), judge.reasons
    )


def ranking_method(judge: JudgeSettings) -> RankingMethod:
    """How the settings want a list ranked."""
    return RankingMethod(
        judge.method,
        judge.num_orders,
        judge.max_orders,
        judge.stop_at_tau,
        judge.group_size,
        judge.calls_per_answer,
    )


def ranking_task(
    session: RoundSession,
    spec: PromptSpec,
    purpose: CallPurpose,
    subject_id: str,
    text: str,
    answers: Mapping[str, str],
    pool: Sequence[Demonstration],
) -> RankingTask:
    """One list to rank, with the demonstrations that the settings choose from the pool."""
    settings = session.config.demonstrations
    shown = demonstrations.select(pool, text, settings.static, settings.dynamic, settings.selection)
    return RankingTask(spec, purpose, subject_id, text, answers, shown)


def flags_of(answers: Iterable[Candidate]) -> list[Flag]:
    """The answers that look as if they were meant to sway the judge."""
    return [
        Flag(each.id, kind, words) for each in answers for kind, words in adversarial.attack_signals(each.text).items()
    ]


def ranking_job(session: RoundSession, round_: Round, prompt: Prompt, answers: Sequence[Candidate]) -> Job[Judgement]:
    """The judging of one prompt's answers."""
    spec = prompt_spec(session, round_, round_.number, "judge")
    texts = {each.id: each.text for each in answers}

    async def job(ask_judge: AskJudge) -> Judgement:
        question = ranking_task(session, spec, "rank", prompt.id, prompt.text, texts, round_.plan.demonstrations)
        return await rank(ask_judge, question, ranking_method(session.config.judge))

    return job


def rankable(
    session: RoundSession, round_: Round, prompt_ids: Sequence[str] | None = None
) -> dict[str, list[Candidate]]:
    """The distinct answers of each prompt (or of those named) that was not set aside and has at least two of them.

    Of more than policy.answers the first: equal answers are drawn again by whole draws.
    """
    aside = session.store.prompts.set_aside_reasons(round_.id)
    rows = {
        prompt_id: distinct(row)[: session.config.policy.answers]
        for prompt_id, row in session.store.candidates.by_prompt(round_.id, prompt_ids).items()
        if prompt_id not in aside
    }
    return {prompt_id: row for prompt_id, row in rows.items() if len(row) >= 2}
