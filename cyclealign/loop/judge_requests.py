"""Build the ranking requests of a round: template, method, demonstrations and answers."""

from collections.abc import Iterable, Mapping, Sequence

from cyclealign.chat_api.client import request_parameters
from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.config import JudgeSettings
from cyclealign.judge import adversarial, demonstrations
from cyclealign.judge.methods import Judgement, RankingMethod, rank
from cyclealign.judge.requests import PromptSpec, RankingTask
from cyclealign.loop.session import JudgeJob, RoundSession
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


def prompt_spec(session: RoundSession, round_: Round, *seed: object, judge: JudgeSettings | None = None) -> PromptSpec:
    """Return the template, parameters and seed of the round's requests.

    Args:
        seed: values that, with the round's seed, determine the orders and labels shown.
        judge: the judge to ask; None: that of the rankings.
    """
    judge = judge or session.config.judge
    template = next(version for version in round_.plan.templates if version.name == "rank")
    return PromptSpec(
        template, judge.model, request_parameters(judge), seed_from(round_.plan.seed, *seed), judge.reasons
    )


def ranking_method(judge: JudgeSettings) -> RankingMethod:
    """Return the ranking method of the settings."""
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
    prompt: Prompt,
    answers: Mapping[str, str],
    pool: Sequence[Demonstration],
) -> RankingTask:
    """Return the task of ranking one list, with demonstrations selected from the pool by the settings."""
    settings = session.config.demonstrations
    shown = demonstrations.select(pool, prompt.text, settings.static, settings.dynamic, settings.selection)
    return RankingTask(spec, purpose, subject_id, prompt.text, answers, shown, prompt.turns)


def flags_of(answers: Iterable[Candidate]) -> list[Flag]:
    """Return a flag for each sign that an answer tries to influence the judge."""
    return [
        Flag(answer.id, kind, words)
        for answer in answers
        for kind, words in adversarial.attack_signals(answer.text).items()
    ]


def ranking_job(
    session: RoundSession, round_: Round, prompt: Prompt, answers: Sequence[Candidate]
) -> JudgeJob[Judgement]:
    """Return a job that ranks the answers to one prompt."""
    spec = prompt_spec(session, round_, round_.draw, "judge")
    texts = {answer.judged_as: answer.text for answer in answers}
    own_ids = {answer.judged_as: answer.id for answer in answers}

    async def job(ask_judge: AskJudge) -> Judgement:
        task = ranking_task(session, spec, "rank", prompt.id, prompt, texts, round_.plan.demonstrations)
        return (await rank(ask_judge, task, ranking_method(session.config.judge))).renamed(own_ids)

    return job


def rankable(
    session: RoundSession, round_: Round, prompt_ids: Sequence[str] | None = None
) -> dict[str, list[Candidate]]:
    """Return the distinct answers to each prompt that has at least two and was not set aside, by prompt id.

    At most the first policy.answers of them: top-up draws can yield more.

    Args:
        prompt_ids: only these prompts; None: all.
    """
    aside = session.store.prompts.set_aside_reasons(round_.id)
    rows = {
        prompt_id: distinct(row)[: session.config.policy.answers]
        for prompt_id, row in session.store.candidates.by_prompt(round_.id, prompt_ids).items()
        if prompt_id not in aside
    }
    return {prompt_id: row for prompt_id, row in rows.items() if len(row) >= 2}
