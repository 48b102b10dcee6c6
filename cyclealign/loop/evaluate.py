"""The end of a round: the new adapter against its parent, the judge against labels, and the verdict."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.config import ExperimentConfig
from cyclealign.evaluation import metrics as evaluation
from cyclealign.evaluation.intervals import with_interval
from cyclealign.judge.methods import RankingMethod, rank
from cyclealign.loop.demonstration_gain import accuracy_on_reviewed, judge_accuracy
from cyclealign.loop.generate import draw
from cyclealign.loop.judge_requests import flags_of, prompt_spec, ranking_task
from cyclealign.loop.session import Job, RoundSession
from cyclealign.progress import report_progress
from cyclealign.ranking import agreement
from cyclealign.records import Adapter, Candidate, Metric, Prompt, Round
from cyclealign.store import Verdict

Answers = Mapping[str, Sequence[Candidate]]


def evaluate(session: RoundSession, round_: Round) -> int:
    """Measure the round; returns the count of metrics. The parent's held-out answers are those of earlier rounds."""
    adapter = session.store.adapters.of_round(round_.id)
    parents = held_out_answers(session, round_, round_.parent)
    news = held_out_answers(session, round_, adapter)
    metrics = [
        *agreement_metrics(session, round_),
        win_rate(session, round_, parents, news),
        *drift(session, round_, news),
        *gold_quality(session.config, round_, parents, news),
        *judge_accuracy(session, round_),
        *accuracy_on_reviewed(session, round_),
    ]
    session.store.metrics.record(round_.id, metrics)
    return len(metrics)


def answer_as_parent(session: RoundSession, round_: Round) -> int:
    """The parent answers the held-out prompts, as far as it has not, while it is still on the policy; returns how many.

    After training it would have to be put on once more: of whole weights that is another start of the engine.
    """
    return sum(map(len, held_out_answers(session, round_, round_.parent).values()))


def held_out_answers(session: RoundSession, round_: Round, adapter: Adapter | None) -> Answers:
    """Answers to the held-out prompts; the same adapter answers once per experiment, whichever round asks."""
    origin = ["held-out", round_.experiment, round_.plan.seed]
    what = "answer held-out prompts"
    return draw(session, round_, what, round_.plan.held_out, session.config.evaluation.answers, origin, adapter)


def agreement_metrics(session: RoundSession, round_: Round) -> list[Metric]:
    """How far policy and judge agree, and what two random rankings of as many answers would give."""
    rows = [*session.store.agreements.by_prompt(round_.id).values()]
    return [
        with_interval("agreement_tau", [row.tau for row in rows]),
        with_interval("agreement_lcs", [row.lcs_length / row.answers for row in rows]),
        Metric("agreement_chance", fmean(agreement.expected_lcs(row.answers) / row.answers for row in rows)),
        with_interval(
            "judge_steadiness",
            [each.steadiness for each in session.store.rankings.by_prompt(round_.id, "judge").values()],
        ),
    ]


def win_rate(session: RoundSession, round_: Round, parents: Answers, news: Answers) -> Metric:
    """How often the judge prefers the new answer to the parent's, each pair shown in both orders.

    The interval is over prompts. Equal texts are a tie and cost nothing; a pair without a readable verdict is left out.
    """
    session.store.candidates.add_flags([flag for row in news.values() for flag in flags_of(row)])
    jobs: list[Job[tuple[str, float | None]]] = []
    for prompt in round_.plan.held_out:
        for parent, new in zip(parents[prompt.id], news[prompt.id], strict=True):
            jobs.append(duel(session, round_, prompt, parent, new))
    scores: dict[str, list[float]] = {}
    for prompt_id, score in session.ask(round_, "compare with the parent", jobs):
        if score is not None:
            scores.setdefault(prompt_id, []).append(score)
    return with_interval("win_rate", [fmean(row) for row in scores.values()])


def duel(
    session: RoundSession, round_: Round, prompt: Prompt, parent: Candidate, new: Candidate
) -> Job[tuple[str, float | None]]:
    """The prompt's id, and how the new answer fares against the parent's."""
    spec = prompt_spec(session, round_, "win rate")
    texts, pool = {parent.id: parent.text, new.id: new.text}, round_.plan.demonstrations

    async def job(ask_judge: AskJudge) -> tuple[str, float | None]:
        if parent.text == new.text:
            return prompt.id, 0.5
        question = ranking_task(session, spec, "win_rate", prompt.id, prompt.text, texts, pool)
        found = await rank(ask_judge, question, RankingMethod("listwise", num_orders=2))
        return prompt.id, evaluation.duel_score(new.id, found.verdicts)

    return job


def drift(session: RoundSession, round_: Round, news: Answers) -> list[Metric]:
    """How far the policy has moved from its base, and the length of its answers."""
    session.use(None)
    texts = {prompt.id: session.policy.prompt_ids(prompt) for prompt in round_.plan.held_out}
    made = [each for row in news.values() for each in row if each.token_ids]
    sums: list[float] = []
    size, what = session.config.policy.batch_prompts * session.config.evaluation.answers, "score under the base model"
    for start in range(0, len(made), size):
        report_progress(what, start, len(made))
        part = made[start : start + size]
        scored = session.policy.token_logprobs([[*texts[each.prompt_id], *each.token_ids] for each in part])
        sums += [sum(row[-len(each.token_ids) :]) for each, row in zip(part, scored, strict=True)]
    report_progress(what, len(made), len(made))
    return [evaluation.drift(made, sums), evaluation.length(made)]


def gold_quality(config: ExperimentConfig, round_: Round, parents: Answers, news: Answers) -> list[Metric]:
    """The demo world's hidden quality of the held-out answers. It is reported; nothing decides by it."""
    if config.evaluation.gold == "none":
        return []
    from cyclealign.demo.world.dataset import quality

    text = {prompt.id: prompt.text for prompt in round_.plan.held_out}

    def of(name: str, answers: Answers, rate: Callable[[str, str], float]) -> Metric:
        pairs = [(text[prompt_id], each.text) for prompt_id, row in answers.items() for each in row]
        return evaluation.gold(name, pairs, rate)

    return [of("gold_quality", news, quality), of("gold_quality_parent", parents, quality)]


def decide(session: RoundSession, round_: Round) -> str:
    """Accept the round or roll it back, whole, by one conditional update; returns the verdict."""
    verdict, reason = verdict_of(session.config, session.store.metrics.of_round(round_.id))
    session.store.rounds.close(round_.id, session.owner, verdict, reason)
    return verdict


def verdict_of(config: ExperimentConfig, metrics: Mapping[str, Metric]) -> tuple[Verdict, str]:
    """The verdict and its reason, in words that the history shows."""
    least, max_kl = config.acceptance.min_win_rate, config.acceptance.max_kl
    won, moved = metrics["win_rate"], metrics["kl_from_base"]
    if won.value < least:
        return "rolled_back", f"win rate {won.value:.2f} is below {least:.2f}"
    if max_kl is not None and moved.value > max_kl:
        return "rolled_back", f"KL from the base {moved.value:.2f} is above {max_kl:.2f} nats per token"
    return "accepted", f"win rate {won.value:.2f} is at least {least:.2f}"
