"""Promote agreed rankings to demonstrations and retire the oldest."""

from collections.abc import Mapping

from cyclealign.judge import demonstrations
from cyclealign.loop.session import RoundSession
from cyclealign.records import (
    Agreement,
    Demonstration,
    Round,
)


def teach(session: RoundSession, round_: Round) -> int:
    """Agreed rankings that beat chance are proposed as demonstrations, and the oldest retired; returns the proposals.

    They count from the moment the round is accepted; with a round that is rolled back they are dropped. A list that
    was put to people is no example of agreement, and is never proposed.
    """
    settings = session.config.demonstrations
    texts = {each.id: each.text for row in session.store.candidates.by_prompt(round_.id).values() for each in row}
    question = {prompt.id: prompt.text for prompt in round_.plan.prompts}
    doubtful = {each.prompt.id for each in session.store.reviews.find(round_.experiment, round_.number)}
    agreed = [
        row for prompt_id, row in session.store.agreements.by_prompt(round_.id).items() if prompt_id not in doubtful
    ]
    worth = demonstrations.promotable(agreed, settings.max_chance)[: settings.max_kept]
    promoted = [(promotion(each, question[each.prompt_id], texts, round_), each.prompt_id) for each in worth]
    in_use = session.store.demonstrations.active(round_.experiment)  # also where this round does not show them
    retired = demonstrations.to_retire(in_use, len(promoted), settings.max_kept)
    session.store.demonstrations.propose(round_.id, promoted, retired)
    return len(promoted)


def promotion(agreed: Agreement, question: str, texts: Mapping[str, str], round_: Round) -> Demonstration:
    """An agreed ranking as a demonstration."""
    answers = tuple(texts[each] for each in agreed.order)
    return Demonstration.of(question, answers, "dynamic", agreed.tau, agreed.chance, round_.number)
