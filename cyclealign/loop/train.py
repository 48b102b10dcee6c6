"""Training: fine-tune the policy on the round's rankings."""

import math
import shutil
from collections.abc import Mapping, Sequence

from cyclealign.config import TrainingSettings
from cyclealign.files import adapters_folder, checkpoints_folder, home, keep_folder, temporary_folder
from cyclealign.loop.lease import LEASE_SECONDS
from cyclealign.loop.plan import require_trainable_adapter
from cyclealign.loop.session import RoundSession
from cyclealign.loop.training_steps import recorded_steps
from cyclealign.policy import weights
from cyclealign.progress import OnProgress, report_progress
from cyclealign.records import Adapter, Candidate, Metric, Prompt, Ranking, Round, content_id, seed_from
from cyclealign.training import launcher
from cyclealign.training.job import RankedAnswers, TrainingJob, decided_pairs
from cyclealign.training.remarks import load_remarks


def train(session: RoundSession, round_: Round) -> str:
    """Fine-tune the parent's adapter, or its full weights, on the round's rankings; return the new adapter's id.

    The folder is written first and the row last, so a row means a complete adapter. Its name holds the hash of its
    weights, and no folder is ever replaced: a run that has lost its lease cannot touch the weights of another.

    Raises:
        TrainingFailed: with the cause; the judged lists are kept, and the next start begins here.
        LeaseLost: another run took the round over; training has ended.
    """
    existing = session.store.adapters.of_round(round_.id)
    if existing is not None:
        return existing.id
    name = f"round-{round_.number}"
    folder = adapters_folder() / round_.experiment / name
    checkpoints = checkpoints_folder(round_.experiment)
    log = home() / "logs" / f"training-{round_.experiment}-{name}.log"
    job = training_job(session, round_, session.store.reviews.mark_learnt(round_.id))
    require_trainable_adapter(session, round_.parent)
    session.policy.release_memory()
    with temporary_folder(folder) as unfinished:
        with recorded_steps(session, round_) as on_step:
            loss = launcher.train(job, unfinished, progress_while_leased(session), log, checkpoints, on_step)
        for about, words in load_remarks(unfinished).items():
            session.store.notes.record(round_.id, about, words)
        weights_hash = weights.content_hash(unfinished)
        assert weights_hash is not None
        session.store.rounds.renew_lease(round_.id, session.owner, LEASE_SECONDS)
        kept_as = folder.with_name(f"{name}-{weights_hash[:12]}")
        folder = keep_folder(unfinished, kept_as, lambda path: weights.content_hash(path) == weights_hash)
    parent_id = round_.parent.id if round_.parent else None
    adapter_id = content_id("adapter", round_.lineage, round_.number, weights_hash)
    adapter = Adapter(adapter_id, str(folder), weights_hash, parent_id)
    session.store.metrics.record(round_.id, [Metric("training_loss", loss, count=len(job.lists))])
    adapter_id = session.store.adapters.add(round_.id, adapter, round_.plan.base_model, session.owner).id
    shutil.rmtree(checkpoints, ignore_errors=True)
    return adapter_id


def training_job(session: RoundSession, round_: Round, human_orders: Mapping[str, tuple[str, ...]]) -> TrainingJob:
    """Return what the round's training depends on; the session has the settings of the round.

    Args:
        human_orders: reviewers' rankings by prompt id, which training uses instead of the judge's.
    """
    return TrainingJob(
        model=session.model_folder,
        revision=session.config.policy.revision,
        parent=round_.parent.path if round_.parent else None,
        settings=session.config.training,
        lists=ranked_answers(session, round_, human_orders),
        seed=seed_from(round_.plan.seed, round_.draw, "train"),
        trust_remote_code=session.config.policy.remote_code_trusted,
    )


def progress_while_leased(session: RoundSession) -> OnProgress:
    """Return a function that reports steps, and raises LeaseLost once another run has taken the round over."""

    def on_progress(step: int, of: int) -> None:
        report_progress("train", step, of)
        if session.lease is not None:
            session.lease.require()

    return on_progress


def ranked_answers(
    session: RoundSession, round_: Round, human_orders: Mapping[str, tuple[str, ...]]
) -> tuple[RankedAnswers, ...]:
    """Return the training lists: the target's order, the judge's decided pairs and the weight of each judged prompt.

    A list ranked by a person is trained on that order instead, with all of its pairs and weight 1.
    """
    settings = session.config.training
    rankings = session.store.rankings
    orders, verdicts = rankings.by_prompt(round_.id, settings.target), rankings.by_prompt(round_.id, "judge")
    weight_of = {row.prompt_id: row.weight for row in session.store.agreements.by_prompt(round_.id).values()}
    candidate_of: Mapping[str, Candidate] = {
        candidate.id: candidate for row in session.store.candidates.by_prompt(round_.id).values() for candidate in row
    }

    def ranked_list(prompt: Prompt) -> RankedAnswers:
        by_person = prompt.id in human_orders
        order = human_orders[prompt.id] if by_person else orders[prompt.id].order
        prompt_ids, answers = session.policy.prompt_ids(prompt), [candidate_of[each] for each in order]
        same_prompt = prompt.token_ids is None or list(prompt.token_ids) == list(prompt_ids)
        return RankedAnswers(
            prompt_ids=tuple(prompt_ids),
            answers=tuple(answer.token_ids for answer in answers),
            thought_lengths=thought_lengths(answers),
            weight=1.0 if by_person else weight_of[prompt.id],
            pairs=None if by_person else pairs_by_position(order, verdicts[prompt.id], settings),
            parent_logprobs=parent_logprobs(answers, round_.parent) if same_prompt else None,
        )

    return tuple(ranked_list(prompt) for prompt in round_.plan.prompts if prompt.id in orders)


def thought_lengths(answers: Sequence[Candidate]) -> tuple[int, ...] | None:
    """Return the number of thought tokens of each answer; None if there are no thoughts."""
    lengths = tuple(answer.thought_tokens for answer in answers)
    return lengths if any(lengths) else None


def parent_logprobs(answers: Sequence[Candidate], parent: Adapter | None) -> tuple[float, ...] | None:
    """Return the sum of log-probs of each answer without its thought, as stored at generation.

    None if another policy than the parent wrote an answer, or a log-prob is missing: training computes them then.
    """
    parent_id = parent.id if parent else None
    sums = tuple(answer.answer_logprob_sum for answer in answers)
    usable = all(answer.adapter_id == parent_id for answer in answers) and all(map(math.isfinite, sums))
    return sums if usable else None


def pairs_by_position(
    order: Sequence[str], verdict: Ranking, settings: TrainingSettings
) -> tuple[tuple[int, int, float], ...] | None:
    """Return the judge's decided pairs as positions in the order to train on, with the share of verdicts."""
    follow = settings.target == "agreement"
    return decided_pairs(order, verdict.preferences, settings.min_preference, follow_order=follow)
