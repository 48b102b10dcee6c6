"""Generation: the policy answers the round's prompts and the held-out ones."""

import logging
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from cyclealign.errors import PolicyError
from cyclealign.loop.concurrency import WorkSignal
from cyclealign.loop.session import RoundSession
from cyclealign.loop.take_over import round_origin, take_over_answers
from cyclealign.policy import as_candidates, candidate_id, distinct
from cyclealign.progress import report_progress
from cyclealign.records import Adapter, Candidate, Prompt, Round, seed_from

Answers = Mapping[str, Sequence[Candidate]]  # by prompt id

logger = logging.getLogger(__name__)


def generate(session: RoundSession, round_: Round, signal: WorkSignal) -> int:
    """Let the policy, under the parent adapter, answer each prompt; return the number of usable prompts.

    Answers of an abandoned round that this one repeats are taken over if they were sampled in the same way. Notifies
    after each batch, unless too many answers so far were truncated: the judge is not paid to rank fragments.

    Raises:
        PolicyError: too many answers were truncated, or no prompt got two different answers. Stored answers are kept.
        OtherSideFailed: judging failed.
    """
    take_over_answers(session, round_)
    answers: list[Candidate] = []
    usable = 0

    def after_batch(batch: Answers) -> None:
        nonlocal usable
        usable += set_aside_unusable(session, round_, batch)
        answers.extend(candidate for row in batch.values() for candidate in row)
        if truncated_share(answers) <= session.config.policy.max_truncated:
            signal.notify()
        signal.raise_if_stopped()

    policy = session.config.policy
    draw_answers(
        session,
        round_,
        "generate",
        round_.plan.prompts,
        policy.answers,
        round_origin(round_),
        round_.parent,
        after_batch,
        policy.top_up,
        seed_origin=["round", round_.lineage, round_.draw, round_.plan.seed],
    )
    require_complete_answers(session, answers)
    if not usable:
        raise PolicyError(
            "No prompt got two different answers that are not empty, so there is nothing to rank. Check the model: it "
            f"may return nothing but empty answers. Or run `cyclealign abandon {session.config.experiment}`, raise "
            "policy.temperature or policy.answers, and rerun."
        )
    return usable


def set_aside_unusable(session: RoundSession, round_: Round, batch: Answers) -> int:
    """Set aside the prompts with fewer than two distinct answers; return the number of the others."""
    unusable = {prompt_id for prompt_id, row in batch.items() if len(distinct(row)) < 2}
    for prompt in round_.plan.prompts:
        if prompt.id in unusable:
            session.store.prompts.set_aside(round_.id, prompt.id, "fewer than two distinct answers")
            logger.warning("Set aside, with fewer than two distinct answers: %.60s", prompt.text)
    return len(batch) - len(unusable)


def draw_answers(
    session: RoundSession,
    round_: Round,
    label: str,
    prompts: Sequence[Prompt],
    count: int,
    origin: Sequence[object],
    adapter: Adapter | None,
    after_batch: Callable[[Answers], None] = lambda batch: None,
    top_up: int = 0,
    seed_origin: Sequence[object] | None = None,
) -> dict[str, list[Candidate]]:
    """Return ``count`` answers to each prompt, by prompt id: the stored ones, and new draws for those missing.

    Batches are cut from the whole list, whether or not parts of it are stored; each has its own seed and is stored at
    once. So a resumed run draws exactly the answers of an uninterrupted one.

    Args:
        label: names the progress bar.
        origin: values that the candidates' ids are made from.
        adapter: None for the base model.
        after_batch: called with the answers of each batch once they are stored.
        top_up: how often at most to draw ``count`` more answers to a prompt whose answers are not all distinct.
        seed_origin: values that the seeds are made from; None: ``origin``.
    """
    positions = range(count * (1 + top_up))
    ids = {prompt.id: [candidate_id(prompt, origin, adapter, place) for place in positions] for prompt in prompts}
    stored = session.store.candidates.by_id([each for row in ids.values() for each in row])
    size, done = session.config.policy.batch_prompts, 0
    for start in range(0, len(prompts), size):
        batch = prompts[start : start + size]
        report_progress(label, done, len(prompts))
        incomplete = [prompt for prompt in batch if any(each not in stored for each in ids[prompt.id][:count])]
        if incomplete:
            session.use(adapter)
            seed = seed_from(*(seed_origin or origin), "batch", start, size)
            answers = draw_batch(session, incomplete, count, origin, adapter, seed, top_up)
            # A stored answer stays: some are there where the size of batches, or the number of answers, was another.
            drawn = [candidate for candidate in answers if candidate.id not in stored]
            session.store.candidates.add(round_.id, drawn, sampling_of(session, adapter, seed))
            stored.update({candidate.id: candidate for candidate in drawn})
        done += len(batch)
        after_batch({prompt.id: [stored[each] for each in ids[prompt.id] if each in stored] for prompt in batch})
    report_progress(label, done, len(prompts))
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
    """Return ``count`` answers to each prompt, and more where some are equal; every answer drawn is kept."""
    drawn: dict[str, list[Candidate]] = {prompt.id: [] for prompt in prompts}
    for turn in range(1 + top_up):
        incomplete = [prompt for prompt in prompts if len(distinct(drawn[prompt.id])) < count]
        if not incomplete:
            break
        answers = session.policy.answer(incomplete, count, seed_from(seed, turn) if turn else seed)
        for prompt, row in zip(incomplete, answers, strict=True):
            drawn[prompt.id] += as_candidates(prompt, row, origin, adapter, first=turn * count)
    return [candidate for row in drawn.values() for candidate in row]


def sampling_of(session: RoundSession, adapter: Adapter | None, seed: int) -> dict[str, object]:
    """Return the sampling settings of a batch and the weights that answered, for the history."""
    policy = session.config.policy
    return {
        **session.policy.provenance,
        "adapter_hash": adapter.content_hash if adapter else None,
        "temperature": policy.temperature,
        "top_p": policy.top_p,
        "max_new_tokens": policy.max_new_tokens,
        "thinking": policy.thinking,
        "system_prompt": policy.system_prompt,
        "chat_template_kwargs": policy.chat_template_kwargs,
        "seed": seed,
    }


def require_complete_answers(session: RoundSession, answers: Sequence[Candidate]) -> None:
    """Check that enough answers end before the token limit: the judge would rank fragments.

    Raises:
        PolicyError: a larger share than policy.max_truncated was truncated.
    """
    share, policy = truncated_share(answers), session.config.policy
    if share > policy.max_truncated:
        raise PolicyError(
            f"{share:.0%} of the answers were cut at policy.max_new_tokens = {policy.max_new_tokens} "
            f"(allowed: {policy.max_truncated:.0%}){within_thoughts(answers)}. Allow it with policy.max_truncated and "
            f"rerun: the answers are kept. Or run `cyclealign abandon {session.config.experiment}`, raise "
            "policy.max_new_tokens and rerun: the prompts are answered anew."
        )


def within_thoughts(answers: Sequence[Candidate]) -> str:
    """Return a remark on the answers that were cut within their thought, for a message; empty if there are none."""
    count = sum(answer.thought is not None and not answer.answer_tokens for answer in answers)
    return f", {count} of them within the thought (shorter: policy.chat_template_kwargs)" if count else ""


def truncated_share(answers: Sequence[Candidate]) -> float:
    """Return the share of the answers that reached the token limit."""
    return fmean(candidate.finish_reason == "length" for candidate in answers)
