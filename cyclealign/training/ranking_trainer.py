"""The step of both trainers: rows of a step divided among processes, its loss the mean over them, memory bounded."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer

from cyclealign.errors import TrainingFailed
from cyclealign.training.model import is_sharded
from cyclealign.training.objectives import LossSettings, Objective
from cyclealign.training.passes import ModelInPasses, RowTokens, share_passes, take_rows
from cyclealign.training.sampler import StepBatchSampler, scale_to_step_mean
from cyclealign.training.scoring import Scoring
from cyclealign.training.self_check import choose_form
from cyclealign.training.step_totals import StepTotals

logger = logging.getLogger(__name__)


class RankingTrainer(Trainer, ABC):
    """A trainer whose step is ``rows_per_step`` rows of the dataset, divided among all processes.

    The last row of the dataset is the padding row.
    """

    rows_per_step: int
    objective: Objective
    loss_settings: LossSettings
    totals: StepTotals  # of the step under way
    tokens_at_once: int | None = None  # None: no limit
    steps_before = 0  # steps behind the checkpoint to go on from
    scoring: Scoring
    share_prompts = False  # unless the self-check at the first step refuses it
    reduces_in_loss = False  # whether `loss_sum` exchanges values with the other processes

    def get_train_dataloader(self) -> DataLoader[Any]:
        # Not prepared by Accelerate, which would divide the batches once more; the trainer moves them to the device.
        process, num_processes = self.args.process_index, self.args.world_size
        num_rows = len(self.train_dataset) - 1
        sampler = StepBatchSampler(num_rows, self.rows_per_step, self.args.seed, process, num_processes)
        sampler.epoch = self.steps_before // len(sampler)
        return DataLoader(self.train_dataset, batch_sampler=sampler, collate_fn=self.data_collator)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        """Return this process's part of the mean loss over the step's rows; padding rows have the weight 0."""
        inputs = dict(inputs)
        weights_B = inputs.pop("weights")
        step_count = self.accelerator.reduce((weights_B > 0).sum(), reduction="sum")
        loss_sum = self.loss_sum(model, inputs, weights_B)
        return scale_to_step_mean(loss_sum, step_count, self.accelerator.num_processes)

    def training_step(
        self, model: Any, inputs: dict[str, Tensor], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Add the gradient of a step, in passes of at most ``tokens_at_once`` tokens, and return the step's loss.

        A step that fits is one pass. Otherwise lists share passes, and a list that is too large for one is scored in
        passes (`ModelInPasses`); up to rounding, the gradient is the same. Only the last pass goes through the
        wrapper of data parallelism, so each process averages once a step, however many passes it takes.
        """
        if self.share_prompts:
            self.share_prompts = False
            self._choose_form(dict(self._prepare_inputs(inputs)))
        self.totals = StepTotals(self._tokens(inputs))
        if self.tokens_at_once is None or not self._must_cut(inputs, self.tokens_at_once):
            return super().training_step(model, inputs, num_items_in_batch)
        if is_sharded(self):
            raise TrainingFailed(
                f"A step has more tokens than training.tokens_at_once ({self.tokens_at_once}), and steps on weights "
                "that are sharded over processes (FSDP, DeepSpeed) are not divided. Remove training.tokens_at_once, "
                "and lower training.prompts_per_step to save memory."
            )
        model.train()
        if callable(getattr(self.optimizer, "train", None)):
            self.optimizer.train()
        return self._step_in_passes(model, dict(self._prepare_inputs(inputs)), self.tokens_at_once)

    def _choose_form(self, inputs: dict[str, Tensor]) -> None:
        """Choose how prompts are shared by a check on the step's first list; log the choice and its reason."""
        rows = self.rows_by_unit(inputs)[0]
        with self.compute_loss_context_manager():
            form, reason = choose_form(self.model, self.scoring, take_rows(inputs, rows), self.tokens_at_once)
        self.scoring.form, self.scoring.remark = form, reason if form == "repeated" else None
        logger.info(reason)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log a step with its figures, for trackers and for the state of a checkpoint."""
        if "loss" in logs:
            logs.update(self.totals.figures(self._over_processes))
        super().log(logs, start_time)

    def _over_processes(self, values: list[float]) -> list[float]:
        if self.accelerator.num_processes == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64, device=self.accelerator.device)
        total: list[float] = self.accelerator.reduce(sums, reduction="sum").tolist()
        return total

    def _tokens(self, inputs: Mapping[str, Tensor]) -> int:
        """Return the number of tokens of this process's rows, without padding and padding rows."""
        lengths = inputs["attention_mask"].sum(-1).tolist()
        rows_of = zip(self.rows_by_unit(inputs), inputs["weights"].tolist(), strict=True)
        return sum(lengths[row] for rows, weight in rows_of if weight > 0 for row in rows)

    def _must_cut(self, inputs: Mapping[str, Tensor], max_tokens: int) -> bool:
        """Return whether the step is too large for one pass: on any of the processes, if the loss has exchanges.

        Otherwise the exchanges of one process, of its loss and of its forward pass, could be in another order.
        """
        tokens = RowTokens.of(inputs, self.scoring.form)
        must_cut = tokens(range(len(inputs["input_ids"]))) > max_tokens
        if self.reduces_in_loss and self.accelerator.num_processes > 1:
            flag = torch.tensor(int(must_cut), device=self.accelerator.device)
            must_cut = bool(self.accelerator.reduce(flag, reduction="sum").item())
        return must_cut

    def _step_in_passes(self, model: Any, inputs: dict[str, Tensor], max_tokens: int) -> Tensor:
        weights_B = inputs.pop("weights")
        step_count = self.accelerator.reduce((weights_B > 0).sum(), reduction="sum")
        rows_of, tokens = self.rows_by_unit(inputs), RowTokens.of(inputs, self.scoring.form)
        units = list(range(len(weights_B)))
        # The number of passes may differ between processes; number and order of exchanges may not.
        together = self.reduces_in_loss and self.accelerator.num_processes > 1
        groups = [units] if together else share_passes(rows_of, tokens, max_tokens)
        losses = []
        for number, group in enumerate(groups, 1):
            part = self.take_units(inputs, group)
            last_model = model if number == len(groups) else self.model
            fits = not together and tokens([row for unit in group for row in rows_of[unit]]) <= max_tokens
            scorer = last_model if fits else ModelInPasses(self.model, max_tokens, self.scoring.form)
            with self.compute_loss_context_manager():
                loss_sum = self.loss_sum(scorer, part, weights_B[group])
            loss = scale_to_step_mean(loss_sum, step_count, self.accelerator.num_processes)
            if isinstance(scorer, ModelInPasses):
                loss.backward()  # as far as the log-probs
                with self.compute_loss_context_manager():
                    scorer.backward(self.accelerator.backward, last_model)
            else:
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    @abstractmethod
    def rows_by_unit(self, inputs: Mapping[str, Tensor]) -> list[list[int]]:
        """Return the rows of each list or pair of the batch."""

    @abstractmethod
    def take_units(self, inputs: Mapping[str, Tensor], units: Sequence[int]) -> dict[str, Tensor]:
        """Return a batch of these lists or pairs, without their weights."""

    @abstractmethod
    def loss_sum(self, model: Any, inputs: dict[str, Tensor], weights_B: Tensor) -> Tensor:
        """Return the sum of weight * loss over this process's rows, a scalar."""
