"""Reconcile the policy's ranking with the judge's."""

from collections.abc import Sequence

from cyclealign.loop.judge_requests import rankable
from cyclealign.loop.session import RoundSession
from cyclealign.ranking import agreement
from cyclealign.records import (
    Agreement,
    Ranking,
    Round,
)


def agree(session: RoundSession, round_: Round) -> int:
    """Rank by the policy's length-normalised log-probs, reconcile with the judge; return the number of prompts.

    The weights of the prompts follow training.weight, which may change until the round is trained.
    """
    lists = rankable(session, round_)
    verdicts = session.store.rankings.by_prompt(round_.id, "judge")
    policy_order = {
        prompt_id: agreement.rank_by_score({answer.id: answer.mean_logprob for answer in lists[prompt_id]})
        for prompt_id in verdicts
    }
    rows = [agreement_of(session, policy_order[prompt_id], verdict) for prompt_id, verdict in verdicts.items()]
    session.store.rankings.add(
        round_.id, [Ranking(prompt_id, "policy", order) for prompt_id, order in policy_order.items()]
    )
    targets = [
        Ranking(
            row.prompt_id,
            "agreement",
            agreement.agreement_target(policy_order[row.prompt_id], verdicts[row.prompt_id].order, row.order),
        )
        for row in rows
    ]
    session.store.rankings.add(round_.id, targets)
    session.store.agreements.record(round_.id, rows)
    return len(rows)


def agreement_of(session: RoundSession, policy_order: Sequence[str], verdict: Ranking) -> Agreement:
    """Return the order on which policy and judge agree, its probability by chance, and the prompt's weight."""
    agreed = agreement.longest_common_subsequence(policy_order, verdict.order)
    tau = agreement.kendall_tau(policy_order, verdict.order)
    weights = {"uniform": 1.0, "agreement": (1 + tau) / 2, "steadiness": verdict.steadiness}
    return Agreement(
        prompt_id=verdict.prompt_id,
        order=agreed,
        lcs_length=len(agreed),
        answers=len(policy_order),
        chance=agreement.chance_of_lcs(len(policy_order), len(agreed)),
        tau=tau,
        weight=weights[session.config.training.weighing],
    )
