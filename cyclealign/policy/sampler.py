"""Sampling within transformers' `generate`: log-probs taken as they come, and the noise of a batch whatever its cut.

Dimensions: ``B`` rows of the whole batch, ``P`` rows of a part of it, ``V`` tokens of the vocabulary, ``T`` steps.
"""

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper


class Sampler(LogitsProcessor):
    """Draws the tokens of a part of a batch, and keeps their log-probs.

    For `generate` without its own sampling, which then takes the best score: those that this processor returns are
    p / q with q from Exp(1), and argmax(p / q) is a draw from p. It is the rule of `torch.multinomial`, with the same
    tokens for a whole batch (on a CPU to the bit). Its noise is drawn for all rows of the batch, of which a part takes
    its own, so that a batch that is answered in parts gets the samples of an undivided one, up to rounding.

    Of all logits only the step's are in memory: (P, V), where `output_logits` would keep (T, P, V).
    """

    def __init__(self, temperature: float, top_p: float, seed: int, rows: range, num_rows: int, device: str) -> None:
        """Prepare to draw.

        Args:
            rows: the part's rows within the batch.
            num_rows: B.
        """
        self._warpers = LogitsProcessorList()
        if temperature != 1:
            self._warpers.append(TemperatureLogitsWarper(temperature))
        if top_p < 1:
            self._warpers.append(TopPLogitsWarper(top_p))
        self._rows, self._num_rows = rows, num_rows
        self._generator = torch.Generator(device).manual_seed(seed)
        self._logprobs: list[Tensor] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Return p / q of the next token, shape (P, V), and keep the log-probs of the tokens drawn."""
        logprobs_PV = scores.log_softmax(-1)  # raw: before temperature and truncation
        noise_BV = torch.empty(self._num_rows, scores.shape[1], device=scores.device, dtype=scores.dtype)
        noise_BV.exponential_(generator=self._generator)
        probs_PV = self._warpers(input_ids, scores).softmax(-1)
        weights_PV: torch.FloatTensor = probs_PV.div_(noise_BV[self._rows.start : self._rows.stop])
        self._logprobs.append(logprobs_PV.gather(-1, weights_PV.argmax(-1, keepdim=True)))
        return weights_PV

    def logprobs(self, num_steps: int) -> Tensor:
        """Return log P of the sampled tokens in nats, shape (P, T); those after a row's end token mean nothing."""
        return torch.cat(self._logprobs[:num_steps], dim=1)  # `generate` may take a step more and undo it
