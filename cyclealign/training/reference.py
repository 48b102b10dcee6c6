"""The parent's log-probs of the answers to learn from: those stored at generation, or computed before the first step.

Before its first step the model that is trained is the parent: no second model is needed.
"""

import logging
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from accelerate.utils import gather_object
from datasets import Dataset

from cyclealign.errors import TrainingFailed
from cyclealign.training.model import is_sharded
from cyclealign.training.passes import ModelInPasses

logger = logging.getLogger(__name__)

Row: TypeAlias = dict[str, Any]
ListScorer: TypeAlias = Any  # `trainers.ListwiseTrainer`, which imports this module
# Mean difference in nats per token up to which stored log-probs are the model's own: that of an engine in bfloat16.
TOLERANCE = 0.05


def add_parent_logprobs(trainer: ListScorer) -> None:
    """Complete the parent's log-prob sums in the trainer's rows. Call it before the first step, on all processes.

    Stored ones are used if those of one list are the model's own; otherwise all are computed.

    Raises:
        TrainingFailed: some are missing, and the weights are sharded over processes.
    """
    *rows, _ = trainer.train_dataset.to_list()  # the last one is the padding row
    stored = next((row for row in rows if row["parent_sums"]), None)
    if is_sharded(trainer):
        _require_stored(rows)
    elif stored is not None and not _are_of_the_model(trainer, stored):
        logger.warning("The log-probs stored with the answers are not those of the parent here. They are computed.")
        rows = [{**row, "parent_sums": None} for row in rows]
    missing = [number for number, row in enumerate(rows) if not row["parent_sums"]]
    for number, sums in zip(missing, _sums(trainer, [rows[number] for number in missing]), strict=True):
        rows[number] = {**rows[number], "parent_sums": sums}
    padding = {**trainer.train_dataset[len(rows)], "parent_sums": rows[0]["parent_sums"]}
    trainer.train_dataset = Dataset.from_list([*rows, padding])


def _require_stored(rows: Sequence[Row]) -> None:
    if not all(row["parent_sums"] for row in rows):
        raise TrainingFailed(
            "Some answers have no stored log-probs of the parent, and weights that are sharded over processes (FSDP, "
            "DeepSpeed) do not compute them. Choose training.objective rrhf, pro, sft, simpo or dpo and "
            "training.kl_weight 0, or train without sharding. The judged lists are kept: the next start begins at "
            "training."
        )


def _are_of_the_model(trainer: ListScorer, row: Row) -> bool:
    """Return whether the stored sums of a list are the model's, on all processes alike."""
    lengths = [len(ids) - unlearnt for ids, unlearnt in zip(row["answers"], row["unlearnt"], strict=True)]
    (computed,) = _sums_of(trainer, [row])
    differences = [
        abs(own - other) / max(length, 1)
        for own, other, length in zip(computed, row["parent_sums"], lengths, strict=True)
    ]
    differ = torch.tensor(int(not sum(differences) / len(differences) <= TOLERANCE), device=trainer.accelerator.device)
    return not trainer.accelerator.reduce(differ, reduction="sum").item()


def _sums(trainer: ListScorer, rows: Sequence[Row]) -> list[list[float]]:
    """Return the model's log-prob sums of the answers of each list, computed by all processes together."""
    processes, step = trainer.accelerator.num_processes, trainer.rows_per_step
    own = range(trainer.accelerator.process_index, len(rows), processes)
    batches = [own[start : start + step] for start in range(0, len(own), step)]
    computed = [
        (number, sums)
        for batch in batches
        for number, sums in zip(batch, _sums_of(trainer, [rows[number] for number in batch]), strict=True)
    ]
    return [sums for _, sums in sorted(gather_object(computed) if processes > 1 else computed)]


def _sums_of(trainer: ListScorer, rows: Sequence[Row]) -> list[list[float]]:
    """Return the model's log-prob sums of the answers of each list, in passes, without dropout."""
    batch = dict(trainer._prepare_inputs(trainer.data_collator(list(rows))))
    del batch["weights"]
    trainer.model.eval()
    assert trainer.tokens_at_once is not None
    with torch.no_grad(), trainer.compute_loss_context_manager():
        scores = trainer.scored_lists(ModelInPasses(trainer.model, trainer.tokens_at_once), batch)
    return [each.sums.tolist() for each in scores]
