"""Ranked lists with different numbers of answers, lengths, weights and shares, and with ties."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from transformers import AutoModelForCausalLM

from cyclealign.training.job import RankedAnswers

# 7 lists, so that steps of 4 end with an odd number. The second of three has a tie: pair (1, 2) of four is not decided.
LISTS = tuple(
    RankedAnswers(
        prompt_ids=tuple(range(3, 6 + number)),
        answers=tuple(tuple(range(8 + place, 12 + 2 * place + number % 3)) for place in range(2 + number % 3)),
        weight=(1.0, 0.25, 0.6)[number % 3],
        pairs=(None, None, ((0, 1, 0.75), (0, 3, 0.9)))[number % 3],
    )
    for number in range(7)
)


def with_parent(lists: Iterable[RankedAnswers], folder: str) -> tuple[RankedAnswers, ...]:
    """Return the lists with the log-prob sums of their answers under the model in ``folder``, as a generation does."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()

    def logprob_sum(prompt: tuple[int, ...], answer: tuple[int, ...]) -> float:
        with torch.no_grad():
            logprobs = model(torch.tensor([[*prompt, *answer]])).logits[0].log_softmax(-1)
        places = range(len(prompt) - 1, len(prompt) + len(answer) - 1)
        return sum(float(logprobs[place, token]) for place, token in zip(places, answer, strict=True))

    return tuple(
        replace(ranked, parent_logprobs=tuple(logprob_sum(ranked.prompt_ids, answer) for answer in ranked.answers))
        for ranked in lists
    )
