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
    """The policy ranks by length-normalised log-prob, and the two rankings are reconciled; returns the prompts."""
    lists = rankable(session, round_)
    verdicts = session.store.rankings.by_prompt(round_.id, "judge")
    own = {
        prompt_id: agreement.rank_by_score({each.id: each.mean_logprob for each in lists[prompt_id]})
        for prompt_id in verdicts
    }
    rows = [agreement_of(session, own[prompt_id], verdict) for prompt_id, verdict in verdicts.items()]
    session.store.rankings.add(round_.id, [Ranking(prompt_id, "policy", order) for prompt_id, order in own.items()])
    targets = [
        Ranking(
            row.prompt_id,
            "agreement",
            agreement.agreement_target(own[row.prompt_id], verdicts[row.prompt_id].order, row.order),
        )
        for row in rows
    ]
    session.store.rankings.add(round_.id, targets)
    session.store.agreements.add(round_.id, rows)
    return len(rows)


def agreement_of(session: RoundSession, own: Sequence[str], verdict: Ranking) -> Agreement:
    """What policy and judge agree on for one prompt, how likely chance is to give as much, and the prompt's weight."""
    agreed = agreement.longest_common_subsequence(own, verdict.order)
    tau = agreement.kendall_tau(own, verdict.order)
    weights = {"uniform": 1.0, "agreement": (1 + tau) / 2, "steadiness": verdict.steadiness}
    return Agreement(
        prompt_id=verdict.prompt_id,
        order=agreed,
        lcs_length=len(agreed),
        answers=len(own),
        chance=agreement.chance_of_lcs(len(own), len(agreed)),
        tau=tau,
        weight=weights[session.config.training.weighing],
    )
