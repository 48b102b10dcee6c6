"""The policy's answers: to the round's prompts, and to the held-out ones."""

import logging
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from cyclealign.errors import PolicyError
from cyclealign.loop.concurrency import WorkSignal
from cyclealign.loop.session import RoundSession
from cyclealign.policy import as_candidates, candidate_id, distinct
from cyclealign.progress import report_progress
from cyclealign.records import Adapter, Candidate, Prompt, Round, seed_from

Answers = Mapping[str, Sequence[Candidate]]  # by prompt id

logger = logging.getLogger(__name__)


def generate(session: RoundSession, round_: Round, bell: WorkSignal) -> int:
    """The policy, under the parent adapter, answers each prompt of the round n times; returns the usable prompts.

    Rings the bell after each batch, unless too many answers so far were cut: the judge is not paid to rank fragments.

    Raises:
        PolicyError: too many answers were cut, or no prompt got two different answers; nothing stored is lost.
    """
    origin = ["round", round_.experiment, round_.number, round_.plan.seed]
    made: list[Candidate] = []
    usable = 0

    def batch_done(batch: Answers) -> None:
        nonlocal usable
        usable += set_aside_unusable(session, round_, batch)
        made.extend(candidate for row in batch.values() for candidate in row)
        if cut_share(made) <= session.config.policy.max_truncated:
            bell.ring()
        bell.go_on()

    policy = session.config.policy
    draw(
        session,
        round_,
        "generate",
        round_.plan.prompts,
        policy.answers,
        origin,
        round_.parent,
        batch_done,
        policy.top_up,
    )
    refuse_cut(session, made)
    if not usable:
        raise PolicyError(
            "No prompt got two different answers that are not empty, so there is nothing to rank. Raise "
            "policy.temperature or policy.answers, or look at the model: it may answer with nothing at all."
        )
    return usable


def set_aside_unusable(session: RoundSession, round_: Round, batch: Answers) -> int:
    """Set aside the prompts that cannot be ranked; return how many can."""
    unusable = {prompt_id for prompt_id, row in batch.items() if len(distinct(row)) < 2}
    for prompt in round_.plan.prompts:
        if prompt.id in unusable:
            session.store.prompts.set_aside(round_.id, prompt.id, "fewer than two distinct answers")
            logger.warning("Set aside, with fewer than two distinct answers: %.60s", prompt.text)
    return len(batch) - len(unusable)


def draw(
    session: RoundSession,
    round_: Round,
    what: str,
    prompts: Sequence[Prompt],
    count: int,
    origin: Sequence[object],
    adapter: Adapter | None,
    batch_done: Callable[[Answers], None] = lambda batch: None,
    top_up: int = 0,
) -> dict[str, list[Candidate]]:
    """``count`` answers to each prompt, by prompt id: stored ones as they are, missing ones drawn now.

    ``batch_done`` is told of each batch once it is stored. Prompts of a batch whose answers are not all distinct are
    asked for ``count`` more, at most ``top_up`` times.

    Batches are cut from the whole list, whatever is missing of it, each has its own seed, and is stored at once: a
    resumed run draws exactly what an undisturbed one would have drawn.
    """
    places = range(count * (1 + top_up))
    ids = {prompt.id: [candidate_id(prompt, origin, adapter, place) for place in places] for prompt in prompts}
    stored = session.store.candidates.by_id([each for row in ids.values() for each in row])
    size, done = session.config.policy.batch_prompts, 0
    for start in range(0, len(prompts), size):
        batch = prompts[start : start + size]
        report_progress(what, done, len(prompts))
        if any(each not in stored for prompt in batch for each in ids[prompt.id][:count]):
            session.use(adapter)
            seed = seed_from(*origin, "batch", start, size)
            made = draw_batch(session, batch, count, origin, adapter, seed, top_up)
            session.store.candidates.add(round_.id, made, sampling_of(session, adapter, seed))
            stored.update({candidate.id: candidate for candidate in made})
        done += len(batch)
        batch_done({prompt.id: [stored[each] for each in ids[prompt.id] if each in stored] for prompt in batch})
    report_progress(what, done, len(prompts))
    return {prompt_id: [stored[each] for each in row if each in stored] for prompt_id, row in ids.items()}


def draw_batch(
    session: RoundSession,
    prompts: Sequence[Prompt],
    count: int,
    origin: Sequence[object],
    adapter: Adapter | None,
    seed: int,
    top_up: int,
) -> list[Candidate]:
    """``count`` answers to each prompt, and as many more where some are equal; all that is drawn is kept."""
    made: dict[str, list[Candidate]] = {prompt.id: [] for prompt in prompts}
    for turn in range(1 + top_up):
        lacking = [prompt for prompt in prompts if len(distinct(made[prompt.id])) < count]
        if not lacking:
            break
        answers = session.policy.answer(lacking, count, seed_from(seed, turn) if turn else seed)
        for prompt, row in zip(lacking, answers, strict=True):
            made[prompt.id] += as_candidates(prompt, row, origin, adapter, first=turn * count)
    return [candidate for row in made.values() for candidate in row]


def sampling_of(session: RoundSession, adapter: Adapter | None, seed: int) -> dict[str, object]:
    """How a batch of answers was drawn, and by which weights, for the history."""
    policy = session.config.policy
    return {
        **session.policy.provenance,
        "adapter_hash": adapter.content_hash if adapter else None,
        "temperature": policy.temperature,
        "top_p": policy.top_p,
        "max_new_tokens": policy.max_new_tokens,
        "seed": seed,
    }


def refuse_cut(session: RoundSession, answers: Sequence[Candidate]) -> None:
    """Raise PolicyError when too many answers reached the token limit: the judge would rank fragments."""
    share = cut_share(answers)
    if share > session.config.policy.max_truncated:
        raise PolicyError(
            f"{share:.0%} of the answers were cut at policy.max_new_tokens = {session.config.policy.max_new_tokens} "
            f"(allowed: {session.config.policy.max_truncated:.0%}). Raise max_new_tokens, or allow it with "
            "policy.max_truncated. The answers are kept; a changed limit takes effect in a new experiment or in the "
            "next round."
        )


def cut_share(answers: Sequence[Candidate]) -> float:
    """Share of the answers that reached the token limit."""
    return fmean(candidate.finish_reason == "length" for candidate in answers)
