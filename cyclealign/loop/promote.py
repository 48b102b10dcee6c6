"""Promote agreed rankings to demonstrations and retire the oldest."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cyclealign.judge import demonstrations
from cyclealign.loop.session import RoundSession
from cyclealign.ranking import permutation_test
from cyclealign.records import (
    Agreement,
    Demonstration,
    Prompt,
    Ranking,
    Round,
)

logger = logging.getLogger(__name__)
NOTE = "promotion"  # name of a round's note
ROUND_ALPHA = 0.05  # level of the test that the round's agreement is more than chance


@dataclass(frozen=True)
class Tested:
    """The lists of a round that agree beyond chance, the least likely first, with the tests in words."""

    promotable: list[Agreement]
    words: str


def promote_demonstrations(session: RoundSession, round_: Round) -> int:
    """Propose agreed rankings that beat chance as demonstrations and retire the oldest; return the number proposed.

    They become active when the round is accepted and are dropped if it is not. Lists that were sent to reviewers are
    excluded: policy and judge disagreed on them.
    """
    settings = session.config.demonstrations
    texts = {each.id: each.text for row in session.store.candidates.by_prompt(round_.id).values() for each in row}
    prompts = {prompt.id: prompt for prompt in round_.plan.prompts}
    promotable = find_promotable(session, round_)[: settings.max_kept]
    promoted = [(promotion(each, prompts[each.prompt_id], texts, round_), each.prompt_id) for each in promotable]
    in_use = session.store.demonstrations.active(round_.experiment)  # also where this round does not show them
    retired = demonstrations.to_retire(in_use, len(promoted), settings.max_kept)
    session.store.demonstrations.propose(round_.id, promoted, retired)
    return len(promoted)


def find_promotable(session: RoundSession, round_: Round) -> list[Agreement]:
    """Return the agreements that beat chance by the rule of the settings, the least likely first."""
    settings = session.config.demonstrations
    doubtful = {each.prompt.id for each in session.store.reviews.find(round_.experiment, round_.number)}
    agreed = [
        row for prompt_id, row in session.store.agreements.by_prompt(round_.id).items() if prompt_id not in doubtful
    ]
    if settings.promotion == "identical":
        return demonstrations.promotable(agreed, settings.max_chance)
    policy, judge = (session.store.rankings.by_prompt(round_.id, by) for by in ("policy", "judge"))
    found = beyond_chance(agreed, policy, judge, settings.max_false)
    session.store.notes.record(round_.id, NOTE, found.words)
    logger.info("Round %d of '%s', promotion: %s.", round_.number, round_.experiment, found.words)
    return found.promotable


def beyond_chance(
    agreed: Sequence[Agreement], policy: Mapping[str, Ranking], judge: Mapping[str, Ranking], max_false: float
) -> Tested:
    """Return the agreements that beat chance if the round as a whole does, each with its p as ``chance``.

    Args:
        policy: the policy's rankings by prompt id.
        judge: the judge's rankings by prompt id, with their preferences.
        max_false: limit of the expected share of lists that agree by chance among those returned.
    """
    if not agreed:
        return Tested([], "no list to promote")
    statistics = [statistics_of(policy[row.prompt_id], judge[row.prompt_id]) for row in agreed]
    of_round = permutation_test.round_p_value(statistics)
    head = f"agreement over {len(agreed)} lists p = {of_round:.2g}"
    if of_round > ROUND_ALPHA:
        return Tested([], f"{head}, not more than chance (p <= {ROUND_ALPHA}): no list is promoted")
    tests = [
        replace(row, chance=permutation_test.p_value(null, permutation_test.is_exact(row.answers)))
        for row, null in zip(agreed, statistics, strict=True)
    ]
    passed = permutation_test.benjamini_hochberg([row.chance for row in tests], max_false)
    chosen = demonstrations.promotable([row for row, passes in zip(tests, passed, strict=True) if passes], 1.0)
    smallest = min(permutation_test.smallest_p(row.answers) for row in agreed)
    short = f"; lists of so few answers never pass alone (p >= {smallest:.2g})" if smallest > max_false else ""
    return Tested(chosen, f"{head}; {len(chosen)} of them pass at {max_false:.0%} false ones at most{short}")


def statistics_of(policy: Ranking, judge: Ranking) -> permutation_test.Floats:
    """Return the list's agreement and those under the null, weighted by the judge's preferences."""
    shares = {(pair.better, pair.worse): pair.share for pair in judge.preferences}
    return permutation_test.null_statistics(sorted(policy.order), shares, policy.order)


def promotion(agreed: Agreement, prompt: Prompt, texts: Mapping[str, str], round_: Round) -> Demonstration:
    """Return an agreed ranking as a demonstration."""
    answers = tuple(texts[each] for each in agreed.order)
    return Demonstration.of(prompt.text, answers, "dynamic", agreed.tau, agreed.chance, round_.number, prompt.turns)
