"""Reconcile the policy's ranking with the judge's."""

from collections.abc import Mapping, Sequence

from cyclealign.loop.judge_requests import rankable
from cyclealign.loop.score import policy_scores
from cyclealign.loop.session import RoundSession
from cyclealign.ranking import agreement
from cyclealign.records import (
    Agreement,
    Ranking,
    Round,
)


def agree(session: RoundSession, round_: Round) -> int:
    """Rank by the policy's score, reconcile with the judge; return the number of prompts.

    The weights of the prompts follow training.weight, which may change until the round is trained.
    """
    verdicts = session.store.rankings.by_prompt(round_.id, "judge")
    own = policy_rankings(session, round_, list(verdicts))
    rows = [agreement_of(session, own[prompt_id].order, verdict) for prompt_id, verdict in verdicts.items()]
    session.store.rankings.add(round_.id, list(own.values()))
    targets = [
        Ranking(
            row.prompt_id,
            "agreement",
            agreement.agreement_target(own[row.prompt_id].order, verdicts[row.prompt_id].order, row.order),
        )
        for row in rows
    ]
    session.store.rankings.add(round_.id, targets)
    session.store.agreements.record(round_.id, rows)
    return len(rows)


def policy_rankings(session: RoundSession, round_: Round, prompt_ids: Sequence[str]) -> Mapping[str, Ranking]:
    """Return the policy's rankings of these prompts: the stored ones, and those by its scores."""
    stored = session.store.rankings.by_prompt(round_.id, "policy")
    if stored.keys() >= set(prompt_ids):
        return stored
    lists = rankable(session, round_)
    scores = policy_scores(session, round_, lists)
    return {prompt_id: stored.get(prompt_id) or scores.ranking(prompt_id, lists[prompt_id]) for prompt_id in prompt_ids}


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
