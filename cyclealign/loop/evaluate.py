"""Evaluation: the new adapter against its parent, the judge against labels, and the round's verdict."""

from collections.abc import Callable
from statistics import fmean

from cyclealign.config import ExperimentConfig
from cyclealign.evaluation import length
from cyclealign.evaluation import metrics as evaluation
from cyclealign.evaluation.intervals import with_interval
from cyclealign.loop.approval import settle
from cyclealign.loop.demonstration_gain import judge_accuracy, reviewed_accuracy
from cyclealign.loop.duels import Answers, Comparison, compare_until_decided, fight, held_out_answers
from cyclealign.loop.held_out import planned_prompts
from cyclealign.loop.session import RoundSession
from cyclealign.loop.verdict import level_of, verdict_of
from cyclealign.progress import report_progress
from cyclealign.ranking import agreement
from cyclealign.records import Metric, Round


def evaluate(session: RoundSession, round_: Round) -> int:
    """Measure the round and store its metrics; return their number."""
    found = compare_until_decided(session, round_)
    round_ = found.round
    metrics = [
        *agreement_metrics(session, round_),
        *duel_metrics(session, found),
        *length_metrics(found),
        *base_metrics(session, found),
        *drift(session, round_, found.new_answers),
        *gold_quality(session.config, round_, found.parent_answers, found.new_answers),
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


def duel_metrics(session: RoundSession, found: Comparison) -> list[Metric]:
    """Measure how often the judge prefers the new answer to the parent's, and the evidence of both sides."""
    level = level_of(session.config.acceptance, session.store, found.round)
    scores = [(duel.prompt_id, duel.score) for duel in found.duels]
    return evaluation.duel_metrics(scores, level, planned_prompts(session, found.round))


def length_metrics(found: Comparison) -> list[Metric]:
    """Measure how much longer than the parent's the answers are, and the win rate at equal length."""
    prompts = list(found.new_answers)
    new, parent = (
        [answers[prompt_id] for prompt_id in prompts] for answers in (found.new_answers, found.parent_answers)
    )
    score = evaluation.mean_scores([(duel.prompt_id, duel.score) for duel in found.duels])
    longer = {
        prompt_id: length.mean_tokens(mine) - length.mean_tokens(theirs)
        for prompt_id, mine, theirs in zip(prompts, new, parent, strict=True)
    }
    controlled = length.length_controlled([*score.values()], [longer[prompt_id] for prompt_id in score])
    return [length.length_growth(new, parent), *([controlled] if controlled else [])]


def base_metrics(session: RoundSession, found: Comparison) -> list[Metric]:
    """Measure how often the judge prefers the new answer to the base model's, if the settings want it.

    If the parent is the base model, these are the duels with the parent.
    """
    if not session.config.evaluation.against_base:
        return []
    duels = found.duels
    if found.round.parent is not None:
        base_answers = held_out_answers(session, found.round, None)
        duels = tuple(fight(session, found.round, base_answers, found.new_answers, "win_rate_base"))
    planned = planned_prompts(session, found.round)
    return evaluation.base_metrics([(duel.prompt_id, duel.score) for duel in duels], planned)


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

    What an undecided round proposes does not count, even if the next round starts from its weights. With
    acceptance.approval = "ask" the round stays open until a person has decided.
    """
    settings, store = session.config.acceptance, session.store
    decision = verdict_of(settings, store.metrics.of_round(round_.id), level_of(settings, store, round_))
    return settle(session, round_, decision)
