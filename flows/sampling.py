"""The policy's answers: to the round's prompts, and to the held-out ones."""

import logging
from collections.abc import Sequence
from statistics import fmean

from cyclealign.errors import PolicyError
from cyclealign.policy import as_candidates, candidate_id, distinct
from cyclealign.records import Adapter, Candidate, Prompt, Round, seed_from
from flows.progress import tell
from flows.workshop import Workshop

logger = logging.getLogger(__name__)


def generate(shop: Workshop, round_: Round) -> int:
    """The policy, under the parent adapter, answers each prompt of the round n times; returns the usable prompts.

    Raises:
        PolicyError: too many answers were cut, or no prompt got two different answers; nothing stored is lost.
    """
    origin = ["round", round_.experiment, round_.number, round_.plan.seed]
    answers = draw(shop, round_, "generate", round_.plan.prompts, shop.config.policy.answers, origin, round_.parent)
    refuse_cut(shop, [candidate for row in answers.values() for candidate in row])
    usable = {prompt_id for prompt_id, row in answers.items() if len(distinct(row)) >= 2}
    known = shop.store.set_aside_prompts(round_.id)
    for prompt in round_.plan.prompts:
        if prompt.id not in usable and prompt.id not in known:
            shop.store.set_aside(round_.id, prompt.id, "fewer than two distinct answers")
            logger.warning("Set aside, with fewer than two distinct answers: %.60s", prompt.text)
    if not usable:
        raise PolicyError(
            "No prompt got two different answers that are not empty, so there is nothing to rank. Raise "
            "policy.temperature or policy.answers, or look at the model: it may answer with nothing at all."
        )
    return len(usable)


def draw(
    shop: Workshop,
    round_: Round,
    what: str,
    prompts: Sequence[Prompt],
    count: int,
    origin: Sequence[object],
    adapter: Adapter | None,
) -> dict[str, list[Candidate]]:
    """``count`` answers to each prompt, by prompt id: stored ones as they are, missing ones drawn now.

    Batches are cut from the whole list, whatever is missing of it, and each has its own seed: a resumed run draws
    exactly what an undisturbed one would have drawn.
    """
    ids = {prompt.id: [candidate_id(prompt, origin, adapter, place) for place in range(count)] for prompt in prompts}
    stored = shop.store.candidates_by_id([each for row in ids.values() for each in row])
    size, done = shop.config.policy.batch_prompts, 0
    for start in range(0, len(prompts), size):
        batch = prompts[start : start + size]
        tell(what, done, len(prompts))
        if any(each not in stored for prompt in batch for each in ids[prompt.id]):
            shop.use(adapter)
            answers = shop.policy.answer(batch, count, seed_from(*origin, "batch", start, size))
            made = [
                candidate
                for prompt, row in zip(batch, answers, strict=True)
                for candidate in as_candidates(prompt, row, origin, adapter)
            ]
            shop.store.add_candidates(round_.id, made)
            stored.update({candidate.id: candidate for candidate in made})
        done += len(batch)
    tell(what, done, len(prompts))
    return {prompt_id: [stored[each] for each in row] for prompt_id, row in ids.items()}


def refuse_cut(shop: Workshop, answers: Sequence[Candidate]) -> None:
    """Raise PolicyError when too many answers reached the token limit: the judge would rank fragments."""
    share = fmean(candidate.finish_reason == "length" for candidate in answers)
    if share > shop.config.policy.most_cut:
        raise PolicyError(
            f"{share:.0%} of the answers were cut at policy.max_new_tokens = {shop.config.policy.max_new_tokens} "
            f"(allowed: {shop.config.policy.most_cut:.0%}). Raise max_new_tokens, or allow it with policy.most_cut. "
            "The answers are kept; a changed limit takes effect in a new experiment or in the next round."
        )
