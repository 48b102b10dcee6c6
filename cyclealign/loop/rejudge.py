"""Rank a stored round's answers again and compare the rankings. The round's own rows stay unchanged."""

from collections.abc import Sequence
from dataclasses import dataclass

from cyclealign.errors import BudgetReached, JudgeError
from cyclealign.judge.comparison import Comparison, compare
from cyclealign.judge.methods import Judgement
from cyclealign.loop.replay import Replay
from cyclealign.loop.session import RoundSession
from cyclealign.records import Rejudgement, Round, Spending, content_id


@dataclass(frozen=True)
class RejudgeResult:
    """The result of a replay.

    Args:
        rejudgement: its row in the history.
        comparison: the rankings before and after.
        paid: the spending of this run; calls answered before are not part of it.
    """

    rejudgement: Rejudgement
    comparison: Comparison
    paid: Spending


def rejudge(replay: Replay) -> RejudgeResult:
    """Ask the judge, compare the rankings, and store the comparison with the round.

    Raises:
        BudgetReached: the budget of the round, or of the config among the overrides, is exhausted.
        JudgeError: no list got a readable verdict.
    """
    session, round_ = replay.session, replay.round_
    session.store.templates.add(replay.template)
    spent_before = rejudging_cost(replay)
    judgements = judge_again(replay)
    record_parse_problems(session, round_, judgements)
    after = {
        prompt.id: verdict
        for prompt, judgement in zip(replay.prompts, judgements, strict=True)
        if (verdict := judgement.ranking(prompt.id)) is not None
    }
    if not after:
        raise JudgeError(
            f"The judge gave no readable verdict on any of {len(judgements)} lists. Look at its replies with "
            f"`cyclealign history {round_.experiment} --round {round_.number} --failures`."
        )
    comparison = compare(replay.before, after)
    rejudgement = rejudgement_of(replay, comparison)
    session.store.rejudgements.record(rejudgement)
    return RejudgeResult(rejudgement, comparison, rejudging_cost(replay) - spent_before)


def judge_again(replay: Replay) -> list[Judgement]:
    """Return the judge's judgement on each list.

    Raises:
        BudgetReached: with a message for this command; a run's would ask to change the config of the run.
    """
    session, round_ = replay.session, replay.round_
    try:
        return session.run_jobs(round_, f"rejudge round {round_.number}", replay.jobs)
    except BudgetReached as error:
        scope = session.config.budget.scope
        spent = session.store.calls.spending(round_.experiment, round_.id if scope == "round" else None)
        raise BudgetReached(
            f"The next call would exceed the budget of the {scope}; spent: {spent.usd:.4f} USD, {spent.tokens:,} "
            f"tokens, {spent.calls:,} calls. Answered calls are stored. Rerun the command with `--config FILE`, a TOML "
            "file with a raised [budget]: only the remaining calls are sent."
        ) from error


def rejudging_cost(replay: Replay) -> Spending:
    """Return the spending so far on all replays of the round."""
    return replay.session.store.rejudgements.spending(replay.round_.experiment, round_id=replay.round_.id)


def record_parse_problems(session: RoundSession, round_: Round, judgements: Sequence[Judgement]) -> None:
    """Store why replies could not be parsed."""
    problems = dict(problem for judgement in judgements for problem in judgement.problems)
    if problems:
        session.store.calls.record_parse_problems(round_.id, problems)


def rejudgement_of(replay: Replay, comparison: Comparison) -> Rejudgement:
    """Return the replay's row in the history; its id depends on the calls, so that a repetition replaces it."""
    session, round_ = replay.session, replay.round_
    return Rejudgement(
        id=content_id("rejudgement", round_.id, sorted(replay.keys)),
        round_id=round_.id,
        model=session.config.judge.model,
        template_hash=replay.template.hash,
        demonstrations=replay.shown,
        lists=len(comparison.diffs),
        unread=len(replay.lists) - len(comparison.diffs),
        pairs=comparison.pairs,
        flips=comparison.flips,
        tau=comparison.tau,
        cost=session.store.rejudgements.spending(round_.experiment, keys=replay.keys),
    )
