"""Promote agreed rankings to demonstrations and retire the oldest."""

from collections.abc import Mapping

from cyclealign.judge import demonstrations
from cyclealign.loop.session import RoundSession
from cyclealign.records import (
    Agreement,
    Demonstration,
    Prompt,
    Round,
)


def promote_demonstrations(session: RoundSession, round_: Round) -> int:
    """Propose agreed rankings that beat chance as demonstrations and retire the oldest; return the number proposed.

    They become active when the round is accepted and are dropped if it is rolled back. Lists that were sent to
    reviewers are excluded: policy and judge disagreed on them.
    """
    settings = session.config.demonstrations
    texts = {each.id: each.text for row in session.store.candidates.by_prompt(round_.id).values() for each in row}
    prompts = {prompt.id: prompt for prompt in round_.plan.prompts}
    doubtful = {each.prompt.id for each in session.store.reviews.find(round_.experiment, round_.number)}
    agreed = [
        row for prompt_id, row in session.store.agreements.by_prompt(round_.id).items() if prompt_id not in doubtful
    ]
    promotable = demonstrations.promotable(agreed, settings.max_chance)[: settings.max_kept]
    promoted = [(promotion(each, prompts[each.prompt_id], texts, round_), each.prompt_id) for each in promotable]
    in_use = session.store.demonstrations.active(round_.experiment)  # also where this round does not show them
    retired = demonstrations.to_retire(in_use, len(promoted), settings.max_kept)
    session.store.demonstrations.propose(round_.id, promoted, retired)
    return len(promoted)


def promotion(agreed: Agreement, prompt: Prompt, texts: Mapping[str, str], round_: Round) -> Demonstration:
    """Return an agreed ranking as a demonstration."""
    answers = tuple(texts[each] for each in agreed.order)
    return Demonstration.of(prompt.text, answers, "dynamic", agreed.tau, agreed.chance, round_.number, prompt.turns)
