"""Evaluation: the new adapter against its parent, the judge against labels, and the round's verdict."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.config import ExperimentConfig, stored_settings
from cyclealign.evaluation import metrics as evaluation
from cyclealign.evaluation.intervals import with_interval
from cyclealign.judge.methods import RankingMethod, rank
from cyclealign.loop.demonstration_gain import judge_accuracy, reviewed_accuracy
from cyclealign.loop.generate import draw_answers
from cyclealign.loop.judge_requests import flags_of, prompt_spec, ranking_task
from cyclealign.loop.session import JudgeJob, RoundSession
from cyclealign.loop.take_over import answer_settings
from cyclealign.progress import report_progress
from cyclealign.ranking import agreement
from cyclealign.records import Adapter, Candidate, Metric, Prompt, Round
from cyclealign.store import Verdict

Answers = Mapping[str, Sequence[Candidate]]


def evaluate(session: RoundSession, round_: Round) -> int:
    """Measure the round and store its metrics; return their number. The parent's held-out answers are reused."""
    adapter = session.store.adapters.of_round(round_.id)
    parent_answers = held_out_answers(session, round_, round_.parent)
    new_answers = held_out_answers(session, round_, adapter)
    metrics = [
        *agreement_metrics(session, round_),
        win_rate(session, round_, parent_answers, new_answers),
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
    first = session.store.rounds.get(round_.experiment, 1)
    settings = stored_settings(first.plan.settings, f"Round {first.number} of '{first.experiment}'")
    now, before = (answer_settings(config) for config in (session.config, settings))
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


def win_rate(session: RoundSession, round_: Round, parent_answers: Answers, new_answers: Answers) -> Metric:
    """Measure how often the judge prefers the new answer to the parent's, each pair shown in both orders.

    The interval is over prompts. Equal texts are a tie and cost nothing; pairs without a readable verdict are left out.
    """
    session.store.candidates.add_flags([flag for row in new_answers.values() for flag in flags_of(row)])
    jobs: list[JudgeJob[tuple[str, float | None]]] = []
    for prompt in round_.plan.held_out:
        for parent, new in zip(parent_answers[prompt.id], new_answers[prompt.id], strict=True):
            jobs.append(duel_job(session, round_, prompt, parent, new))
    scores: dict[str, list[float]] = {}
    for prompt_id, score in session.run_jobs(round_, "compare with the parent", jobs):
        if score is not None:
            scores.setdefault(prompt_id, []).append(score)
    return with_interval("win_rate", [fmean(row) for row in scores.values()])


def duel_job(
    session: RoundSession, round_: Round, prompt: Prompt, parent: Candidate, new: Candidate
) -> JudgeJob[tuple[str, float | None]]:
    """Return a job for the prompt's id and the new answer's score: 1 win, 0.5 tie, 0 loss; None without a verdict."""
    spec = prompt_spec(session, round_, "win rate")
    texts, pool = {parent.id: parent.text, new.id: new.text}, round_.plan.demonstrations

    async def job(ask_judge: AskJudge) -> tuple[str, float | None]:
        if parent.text == new.text:
            return prompt.id, 0.5
        task = ranking_task(session, spec, "win_rate", prompt.id, prompt, texts, pool)
        judgement = await rank(ask_judge, task, RankingMethod("listwise", num_orders=2))
        return prompt.id, evaluation.duel_score(new.id, judgement.verdicts)

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
    """Accept the round or roll it back as a whole, by one conditional update; return the verdict."""
    verdict, reason = verdict_of(session.config, session.store.metrics.of_round(round_.id))
    session.store.rounds.close(round_.id, session.owner, verdict, reason)
    return verdict


def verdict_of(config: ExperimentConfig, metrics: Mapping[str, Metric]) -> tuple[Verdict, str]:
    """Return the verdict and its reason for the history."""
    min_win_rate, max_kl = config.acceptance.min_win_rate, config.acceptance.max_kl
    won, kl = metrics["win_rate"].value, metrics["kl_from_base"].value
    if won < min_win_rate:
        return "rolled_back", f"win rate {won:.2f} is below {min_win_rate:.2f}"
    if max_kl is not None and kl > max_kl:
        return "rolled_back", f"KL from the base {kl:.2f} is above {max_kl:.2f} nats per token"
    return "accepted", f"win rate {won:.2f} is at least {min_win_rate:.2f}"
