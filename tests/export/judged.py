"""An experiment with judged lists for tests of exports: one accepted round, one rolled back."""

import json
from dataclasses import dataclass

from cyclealign.records import Agreement, CallOutcome, Candidate, Doubt, JudgeCall, Message, Preference, Prompt, Ranking
from cyclealign.store import Store
from tests.support.store_values import TEMPLATE, adapter_for, answers, opened, ranked, reply

CALLING = Message(
    role="assistant",
    content="",
    tool_calls=[{"type": "function", "id": "1", "function": {"name": "f", "arguments": {"x": 1}}}],
)
WITH_TOOLS = Prompt.of(
    (Message(role="user", content="w?"), CALLING, Message(role="tool", content="42", tool_call_id="1"))
)


def one_turn(text: str) -> Prompt:
    """Return a prompt of one turn."""
    return Prompt.of((Message(role="user", content=text),))


@dataclass
class Judged:
    """A store with one closed round, and the candidates of each prompt, best first by the judge."""

    store: Store
    prompts: list[Prompt]
    answers: dict[str, list[Candidate]]

    def lists(self) -> set[tuple[str, tuple[str, ...]]]:
        """Return each prompt (as JSON) with the texts of its answers, best first."""
        return {(as_json(prompt), tuple(one.text for one in self.answers[prompt.id])) for prompt in self.prompts}


def as_json(prompt: Prompt) -> str:
    """Return the messages of a prompt as JSON, to be compared in sets."""
    return json.dumps(prompt.messages, sort_keys=True)


def judged_round(
    store: Store,
    prompts: list[Prompt],
    texts: list[list[str]],
    verdict: str = "accepted",
    reviewed: Prompt | None = None,
) -> Judged:
    """Store a round whose judge ranks the answers in the order of ``texts``; a person turns one list round."""
    round_ = opened(store, drawn=prompts, held_out=())
    adapter = round_.parent
    by_prompt: dict[str, list[Candidate]] = {}
    for prompt, words in zip(prompts, texts, strict=True):
        written = answers(round_, prompt, len(words), adapter)
        # The judge's order is not the order in which the answers were written.
        by_prompt[prompt.id] = [
            Candidate(**{**vars(one), "text": text}) for one, text in zip(written[::-1], words, strict=True)
        ]
        store.candidates.add(round_.id, by_prompt[prompt.id])
        store.rankings.add(round_.id, [with_preferences(ranked(by_prompt[prompt.id]))])
        lcs = Agreement(prompt.id, tuple(one.id for one in by_prompt[prompt.id][:1]), 1, len(words), 0.75, 0.5)
        store.agreements.record(round_.id, [lcs])
        call = JudgeCall("rank", prompt.id, "a|judge", TEMPLATE.hash, (Message(role="user", content=prompt.id),), ())
        store.calls.record(round_.id, [CallOutcome(call, reply())])
    if reviewed is not None:
        store.reviews.add(round_.id, [Doubt(reviewed.id, "unsure")])
        turned = by_prompt[reviewed.id][::-1]
        store.reviews.answer(round_.id, reviewed.id, [one.id for one in turned])
        by_prompt[reviewed.id] = turned
    store.adapters.add(round_.id, adapter_for(round_), "a-model")
    store.rounds.close(round_.id, "me", verdict, "")
    return Judged(store, prompts, by_prompt)


def with_preferences(ranking: Ranking) -> Ranking:
    """Return the ranking with sure pairs, except for the last two answers, on which the judge is divided."""
    order = ranking.order
    pairs = [
        Preference(order[high], order[low], 0.5 if high == len(order) - 2 else 1.0, 2)
        for high in range(len(order))
        for low in range(high + 1, len(order))
    ]
    return Ranking(ranking.prompt_id, ranking.by, order, 0.75, tuple(pairs))
