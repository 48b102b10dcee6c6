"""A LoRA adapter trained by RRHF on lists with a reference order, for `benchmarks.agreement_score`."""

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

from benchmarks.agreement_logprobs import candidate
from benchmarks.judge_accuracy import List
from cyclealign.config import TrainingSettings
from cyclealign.files import appearing_folder
from cyclealign.policy import weights
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.records import Adapter, Message, Prompt
from cyclealign.training import launcher
from cyclealign.training.job import RankedAnswers, TrainingJob

SETTINGS = TrainingSettings(
    objective="rrhf", learning_rate=5e-4, epochs=1, prompts_per_step=4, process="same", save_every=0
)


def rrhf_adapter(
    policy: Callable[[], TransformersPolicy], model: str, lists: Sequence[List], tokens: int, folder: Path
) -> Adapter:
    """Return the adapter in ``folder``, training it first if there is none.

    Args:
        lists: each is learnt in its reference order; pairs of equal quality are left out.
        tokens: answers are cut after this many, as where they are scored.
    """
    if not folder.exists():
        ranked = tuple(ranked_answers(policy(), row, tokens) for row in lists)
        job = TrainingJob(model, None, None, SETTINGS, ranked, seed=0)
        with appearing_folder(folder) as unfinished:
            launcher.train(job, unfinished, lambda done, steps: print(f"step {done} of {steps}", flush=True))
    content_hash = weights.content_hash(folder)
    assert content_hash is not None
    return Adapter("rrhf", str(folder), content_hash, None)


def ranked_answers(policy: TransformersPolicy, row: List, tokens: int) -> RankedAnswers:
    """Return a list in its reference order, best first."""
    order = sorted(row.answers, key=lambda item: -row.quality[item])
    pairs = tuple(
        (a, b, 1.0) for a, b in combinations(range(len(order)), 2) if row.quality[order[a]] > row.quality[order[b]]
    )
    prompt = Prompt.of((Message(role="user", content=row.question),))
    answers = tuple(candidate(policy, item, row.answers[item], tokens).token_ids for item in order)
    return RankedAnswers(tuple(policy.prompt_ids(prompt)), answers, 1.0, pairs)
