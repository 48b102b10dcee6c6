"""Training jobs on the tiny model, and the mean log-probs that they change."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclealign.config import TrainingSettings
from cyclealign.policy import Policy
from cyclealign.records import Adapter, Prompt
from cyclealign.training.job import RankedAnswers, TrainingJob

PROMPT = Prompt.of(({"role": "user", "content": "how do i bake bread"},))
ANSWERS = ((8, 9, 10, 2), (11, 12, 2), (13, 14, 15, 16, 17, 2))


def training_job(
    folder: str,
    prompt_ids: tuple[int, ...],
    parent: Path | None = None,
    lists: Sequence[RankedAnswers] | None = None,
    **settings: Any,
) -> TrainingJob:
    """Return a job in this process, by default on one list of all answers."""
    values = {"process": "same", "learning_rate": 5e-3, "epochs": 12, **settings}
    ranked = (RankedAnswers(prompt_ids, ANSWERS, 1.0),) if lists is None else tuple(lists)
    parent_folder = None if parent is None else str(parent)
    return TrainingJob(folder, None, parent_folder, TrainingSettings(**values), ranked, seed=3)


def mean_logprobs(policy: Policy, folder: Path | None) -> list[float]:
    """Return the mean log-prob of each answer under the adapter in ``folder``, or the base model."""
    policy.use(Adapter(str(folder), str(folder), "", None) if folder else None)
    sums = policy.logprob_sums(PROMPT, ANSWERS)
    policy.use(None)
    return [total / len(ids) for total, ids in zip(sums, ANSWERS, strict=True)]


def no_progress(done: int, of: int) -> None:
    """Ignore progress."""
