"""Evaluation: the new adapter against its parent, the judge against labels, and the round's verdict."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.config import ExperimentConfig
from cyclealign.errors import JudgeError
from cyclealign.evaluation import metrics as evaluation
from cyclealign.evaluation.intervals import with_interval
from cyclealign.judge.methods import RankingMethod, rank
from cyclealign.loop.demonstration_gain import judge_accuracy, reviewed_accuracy
from cyclealign.loop.generate import draw_answers
from cyclealign.loop.judge_requests import flags_of, prompt_spec, ranking_task
from cyclealign.loop.session import JudgeJob, RoundSession
from cyclealign.loop.settings import opened_settings
from cyclealign.loop.take_over import answer_settings
from cyclealign.loop.verdict import level_of, verdict_of
from cyclealign.progress import report_progress
from cyclealign.ranking import agreement
from cyclealign.records import Adapter, Candidate, Metric, Prompt, Round

logger = logging.getLogger(__name__)
Answers = Mapping[str, Sequence[Candidate]]


@dataclass(frozen=True)
class Duel:
    """The comparison of one answer with the parent's.

    Attributes:
        score: of the new answer: 1 win, 0.5 tie, 0 loss; None without a readable verdict.
        asked: whether the judge was asked, which it is not about equal texts.
        problems: (key of the call, problem) of each reply that failed or could not be parsed.
    """

    prompt_id: str
    score: float | None
    asked: bool = True
    problems: tuple[tuple[str, str], ...] = ()


def evaluate(session: RoundSession, round_: Round) -> int:
    """Measure the round and store its metrics; return their number. The parent's held-out answers are reused."""
    adapter = session.store.adapters.of_round(round_.id)
    parent_answers = held_out_answers(session, round_, round_.parent)
    new_answers = held_out_answers(session, round_, adapter)
    metrics = [
        *agreement_metrics(session, round_),
        *compare_with_parent(session, round_, parent_answers, new_answers),
        *drift(session, round_, new_answers),
        *gold_quality(session.config, round_, parent_answers, new_answers),
        *judge_accuracy(session, round_),
        *reviewed_accuracy(session, round_),
    ]
    session.store.metrics.record(round_.id, metrics)
    return len(metrics)


def answer_held_out_as_parent(session: RoundSession, round_: Round) -> int:
    """Draw the parent's missing held-out answers while it is still loaded; return the number of all of them.

    After training it would have to be loaded again, which for full weights means another start of the engine.
    """
    return sum(map(len, held_out_answers(session, round_, round_.parent).values()))


def held_out_answers(session: RoundSession, round_: Round, adapter: Adapter | None) -> Answers:
    """Return an adapter's answers to the held-out prompts; they are drawn once per experiment and sampling."""
    origin = ["held-out", round_.lineage, round_.plan.seed, *changed_sampling(session, round_)]
    label = "answer held-out prompts"
    return draw_answers(
        session, round_, label, round_.plan.held_out, session.config.evaluation.answers, origin, adapter
    )


def changed_sampling(session: RoundSession, round_: Round) -> list[dict[str, object]]:
    """Return the sampling settings of the answers if they are not those of the experiment's first round, else nothing.

    Stored answers of the parent under another temperature, say, must not be compared with new ones.
    """
    first = opened_settings(session.store.rounds.get(round_.experiment, 1))
    now, before = (answer_settings(config) for config in (session.config, first))
    return [] if now == before else [now]


def agreement_metrics(session: RoundSession, round_: Round) -> list[Metric]:
    """Measure the agreement of policy and judge, and that of two random rankings for comparison."""
    rows = [*session.store.agreements.by_prompt(round_.id).values()]
    return [
        with_interval("agreement_tau", [row.tau for row in rows]),
        with_interval("agreement_lcs", [row.lcs_length / row.answers for row in rows]),
        Metric("agreement_chance", fmean(agreement.expected_lcs(row.answers) / row.answers for row in rows)),
        with_interval(
            "judge_steadiness",
            [verdict.steadiness for verdict in session.store.rankings.by_prompt(round_.id, "judge").values()],
        ),
    ]


def compare_with_parent(
    session: RoundSession, round_: Round, parent_answers: Answers, new_answers: Answers
) -> list[Metric]:
    """Measure how often the judge prefers the new answer to the parent's, each pair shown in both orders.

    Equal texts are a tie and cost nothing; pairs without a readable verdict are left out.

    Raises:
        JudgeError: fewer of the duels are readable than acceptance.min_readable. The answered calls are kept.
    """
    session.store.candidates.add_flags([flag for row in new_answers.values() for flag in flags_of(row)])
    jobs: list[JudgeJob[Duel]] = []
    for prompt in round_.plan.held_out:
        for parent, new in zip(parent_answers[prompt.id], new_answers[prompt.id], strict=True):
            jobs.append(duel_job(session, round_, prompt, parent, new))
    duels = session.run_jobs(round_, "compare with the parent", jobs)
    problems = dict(problem for duel in duels for problem in duel.problems)
    session.store.calls.record_parse_problems(round_.id, problems)
    require_readable(session.config, duels)
    level = level_of(session.config.acceptance, session.store, round_)
    return evaluation.duel_metrics([(duel.prompt_id, duel.score) for duel in duels], level)


def require_readable(config: ExperimentConfig, duels: Sequence[Duel]) -> None:
    """Check that enough duels have a readable verdict: those without one could turn a verdict taken from the rest.

    The share of prompts with a readable duel is never smaller than that of the duels.

    Raises:
        JudgeError: a smaller share than acceptance.min_readable is readable, or none of those that the judge was asked.
    """
    readable = sum(duel.score is not None for duel in duels)
    asked = [duel for duel in duels if duel.asked]
    if readable < len(duels):
        logger.warning("The judge gave no readable verdict on %d of %d duels.", len(duels) - readable, len(duels))
    none = bool(asked) and all(duel.score is None for duel in asked)
    if none or readable < config.acceptance.min_readable * len(duels):
        raise JudgeError(
            f"{readable} of {len(duels)} duels with the parent have a readable verdict, of which "
            f"{len(duels) - len(asked)} are of equal answers (minimum: acceptance.min_readable = "
            f"{config.acceptance.min_readable:.0%}, and one of those that the judge was asked): the round is neither "
            f"accepted nor rolled back by the rest. Look at the replies with `cyclealign history {config.experiment} "
            "--failures`; rerun to repeat the failed calls, or lower acceptance.min_readable."
        )


def duel_job(session: RoundSession, round_: Round, prompt: Prompt, parent: Candidate, new: Candidate) -> JudgeJob[Duel]:
    """Return a job that compares the new answer to a prompt with the parent's."""
    spec = prompt_spec(session, round_, "win rate")
    texts, pool = {parent.id: parent.text, new.id: new.text}, round_.plan.demonstrations

    async def job(ask_judge: AskJudge) -> Duel:
        if parent.text == new.text:
            return Duel(prompt.id, 0.5, asked=False)
        task = ranking_task(session, spec, "win_rate", prompt.id, prompt, texts, pool)
        judgement = await rank(ask_judge, task, RankingMethod("listwise", num_orders=2))
        return Duel(prompt.id, evaluation.duel_score(new.id, judgement.verdicts), problems=judgement.problems)

    return job


def drift(session: RoundSession, round_: Round, new_answers: Answers) -> list[Metric]:
    """Measure the policy's KL from its base model on its own answers, and the answers' length."""
    session.use(None)
    prompt_ids = {prompt.id: session.policy.prompt_ids(prompt) for prompt in round_.plan.held_out}
    candidates = [candidate for row in new_answers.values() for candidate in row if candidate.token_ids]
    sums: list[float] = []
    size = session.config.policy.batch_prompts * session.config.evaluation.answers
    label = "score under the base model"
    for start in range(0, len(candidates), size):
        report_progress(label, start, len(candidates))
        batch = candidates[start : start + size]
        scored = session.policy.token_logprobs([[*prompt_ids[answer.prompt_id], *answer.token_ids] for answer in batch])
        sums += [sum(row[-len(answer.token_ids) :]) for answer, row in zip(batch, scored, strict=True)]
    report_progress(label, len(candidates), len(candidates))
    return [evaluation.drift(candidates, sums), evaluation.length(candidates)]


def gold_quality(
    config: ExperimentConfig, round_: Round, parent_answers: Answers, new_answers: Answers
) -> list[Metric]:
    """Measure the demo world's hidden quality of the held-out answers. It is only reported; no decision uses it."""
    if config.evaluation.gold == "none":
        return []
    from cyclealign.demo.world.dataset import quality

    text = {prompt.id: prompt.text for prompt in round_.plan.held_out}

    def of(name: str, answers: Answers, rate: Callable[[str, str], float]) -> Metric:
        pairs = [(text[prompt_id], answer.text) for prompt_id, row in answers.items() for answer in row]
        return evaluation.gold(name, pairs, rate)

    return [of("gold_quality", new_answers, quality), of("gold_quality_parent", parent_answers, quality)]


def decide(session: RoundSession, round_: Round) -> str:
    """Accept the round, roll it back as a whole or leave it undecided, by one conditional update; return the verdict.

    What an undecided round proposes does not count, even if the next round starts from its weights.
    """
    settings, store = session.config.acceptance, session.store
    decision = verdict_of(settings, store.metrics.of_round(round_.id), level_of(settings, store, round_))
    store.rounds.close(round_.id, session.owner, decision.verdict, decision.reason, decision.kept)
    return decision.verdict
